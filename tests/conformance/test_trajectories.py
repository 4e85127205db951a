"""The frame of the trajectories must be able to fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from .compare import relative_error
from .frame import ADAPTORS, Case, RecordingDict, read_cases, verdict
from .trajectories.frame import GivenImages, GivenSteps
from .trajectories.weights import compare_state, draw_state, rule_of_name

GOLDENS = Path(__file__).parent / 'goldens'


@pytest.mark.parametrize(
    'change',
    [
        dict(class_counts=[5, *[50] * 9]),
        dict(optimizer=dict(lr=0.1, momentum=0.9, weight_decay=3e-4, nesterov=False)),
        dict(epoch_of_step=[0, 1, 2, 3, 4, 5, 6, 7, 50, 157, 158, 159, 159, 161, 162, 163, *range(178, 185)]),
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_setting_ends_elsewhere(change: dict[str, Any]) -> None:
    case = read_cases(GOLDENS)['trajectory_ldam_drw'][-1]
    case = replace(case, params=RecordingDict({**case.params, **change}), checks=[])
    problems = verdict(case, ADAPTORS[case.method]).problems
    assert {problem.split(':')[0] for problem in problems} >= {'loss_total', 'eval_logits', 'state'}


def test_other_iterations_end_elsewhere() -> None:
    case = read_cases(GOLDENS)['trajectory_db'][0]
    later = [iteration + 1 for iteration in case.params['iteration_of_step']]
    case = replace(case, params=RecordingDict({**case.params, 'iteration_of_step': later}))
    problems = verdict(case, ADAPTORS[case.method]).problems
    assert {problem.split(':')[0] for problem in problems} == {'lr', 'loss_total', 'grad_norm', 'eval_logits', 'state'}


def test_weights_follow_their_rules() -> None:
    rules = 'fan_in', 'in_out', 'bn_var', 'copy:0', 'queue_cols', 'queue_labels', 'zero'
    state = draw_state([(i, str(i), (6, 4), rule) for i, rule in enumerate(rules)], seed=3, num_classes=5)
    n = [np.random.RandomState(3 + i).standard_normal((6, 4)) for i in range(len(rules))]
    expected = n[0] / 2**0.5, n[1] / 3**0.5, 1 + abs(n[2]) / 10, n[0] / 2**0.5, n[4] / np.linalg.norm(n[4], axis=0)
    for got, value in zip(state.values(), expected):
        np.testing.assert_allclose(got, value, rtol=1e-14)
    assert state['5'].tolist() == np.random.RandomState(8).randint(0, 5, (6, 4)).tolist()
    assert not state['6'].any()


@pytest.mark.parametrize(
    ('name', 'shape', 'rule'),
    [
        ('fc.weight', (3, 2), 'weight'),
        ('bn.weight', (3,), 'bn_weight'),
        ('fc.bias', (3,), 'bias'),
        ('bn.running_var', (3,), 'running_var'),
        ('bn.num_batches_tracked', (), 'zero'),
    ],
)
def test_rule_follows_from_the_name(name: str, shape: tuple, rule: str) -> None:
    assert rule_of_name(name, shape) == rule


@pytest.mark.parametrize('is_one_array', [False, True])
def test_state_is_measured_against_its_norm(is_one_array: bool) -> None:
    x, filler = np.array([300.0, 400.0]), 0.0 if is_one_array else np.nan
    projections = [np.random.RandomState(77 + k).standard_normal(2) @ x for k in range(3)]
    rows = np.array([[500, *projections, 300, 400, filler, filler]])
    parts = dict(s=rows) if is_one_array else dict(s_norm=rows[:, 0], s_proj=rows[:, 1:4], s_first=rows[:, 4:])
    errors = []
    for shift in (0.0, 0.01):
        case = Case('doubling', 'a', RecordingDict({}), RecordingDict(parts))
        compare_state(case, 's', [torch.tensor([300, 400 + shift], dtype=torch.float64)])
        ((_, got, expected, size),) = case.checks
        errors.append(relative_error(np.array(got), expected, size).max())
        assert not [*case.arrays.unread()]
    assert errors[0] < 1e-14
    assert errors[1] == pytest.approx(0.01 / 500, rel=0.5)


def test_steps_come_in_their_epochs_with_their_views() -> None:
    images = GivenImages([[0, 1], [2, 0], [1, 1]], seed=5, first_step=7, size=4, num_views=2)
    sampler, order = GivenSteps(images, epoch_of_step=[1, 1, 4]), []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        order.append([*sampler])
    assert order == [[], [0, 1, 2, 3], [], [], [4, 5]]
    item = images[3]
    assert item['data_samples'].gt_label.tolist() == [0]
    for view, image in enumerate(item['inputs']):
        np.testing.assert_array_equal(
            image, np.random.RandomState(5 + 8 + 10000 * view).standard_normal((2, 3, 4, 4))[1]
        )


def test_weights_that_do_not_fill_the_network_are_refused() -> None:
    case = read_cases(GOLDENS)['trajectory_ldam_drw'][0]
    adaptor = ADAPTORS[case.method]
    case.params['init'].pop()
    with pytest.raises(AssertionError, match=r"only: \['head.fc.bias'\]"):
        adaptor.compute(case)
