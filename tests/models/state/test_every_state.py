"""What all state that grows while training promises: exact resume, equal ranks, full precision, any batch size."""

import io

import pytest
import torch
import torch.nn.functional as F
from toy_ranks import on_ranks

from ltmm.models.layers.causal_cosine import RunningDirection
from ltmm.models.state import (
    ClassMemory,
    FeatureQueue,
    MeanScores,
    PriorEstimate,
    Prototypes,
    RunningConfusion,
    RunningCounts,
    RunningGradients,
    SampleTable,
)

C, D = 4, 3
BATCH_SIZES = [(5, 2), (0, 3), (9, 8), (0, 0), (1, 1)]  # of two ranks


def count(state, feature, label, index):
    state.update(label)


def add_gradients(state, feature, label, index):
    per_class = torch.zeros(2, C, device=label.device).index_add(1, label, feature[:, :2].abs().float().T)
    state.update(*per_class)


def enqueue(state, feature, label, index):
    state.update(feature, label, index if state.sub_labels is not None else None)


def average(state, feature, label, index):
    state.update(feature, label)


def average_scores(state, feature, label, index):
    state.update(feature[:, 0].double().sigmoid(), label, torch.arange(len(label), device=label.device))


def add_scores(state, feature, label, index):
    state.update(feature[:, :1].double().sigmoid().expand(-1, C), label)


def write(state, feature, label, index):
    state.write(index, feature)


def estimate_prior(state, feature, label, index):
    state.update(torch.zeros(C, device=label.device).index_add(0, label, feature[:, 0].abs().float()))


def write_label(state, feature, label, index):
    state.write(index, label)


CASES = {
    'counts': (lambda: RunningCounts(C), count),
    'confusion': (lambda: RunningConfusion(C), add_scores),
    'gradients': (lambda: RunningGradients(C), add_gradients),
    'direction': (lambda: RunningDirection(D, 0.9), lambda state, feature, *_: state.update(feature)),
    'queue': (lambda: FeatureQueue(11, D), enqueue),
    'queue_without_labels': (lambda: FeatureQueue(11, D), lambda state, feature, *_: state.update(feature)),
    'queue_sub_labels': (lambda: FeatureQueue(4, D, with_sub_labels=True), enqueue),
    'prototypes': (lambda: Prototypes(C, D), average),
    'prototypes_ema': (lambda: Prototypes(C, D, momentum=0.1), average),
    'prototypes_variances': (lambda: Prototypes(C, D, with_variances=True), average),
    'prior': (lambda: PriorEstimate(C, momentum=0.9), estimate_prior),
    'prior_offset': (lambda: PriorEstimate(C, momentum=0.9, offset=1.0), estimate_prior),
    'memory': (lambda: ClassMemory(C, 2, D), average),
    'mean_scores': (lambda: MeanScores(C), average_scores),
    'table': (lambda: SampleTable(20, D, fill=-1.0), write),
    'table_labels': (lambda: SampleTable(20, dtype=torch.int64), write_label),
}
EACH = pytest.mark.parametrize('name', CASES)


def batches(rank: int | None = None) -> list[tuple[torch.Tensor, ...]]:
    """Features, labels and indices of one rank, or of both in one batch."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for sizes in BATCH_SIZES:
        parts = [
            (
                torch.randn(n, D, generator=generator),
                torch.randint(C - 1, (n,), generator=generator),  # the last class never occurs
                torch.randint(20, (n,), generator=generator),
            )
            for n in sizes
        ]
        batches.append(parts[rank] if rank is not None else tuple(map(torch.cat, zip(*parts))))
    return batches


def values(state) -> dict[str, torch.Tensor]:
    """The state; only the direction of a RunningDirection has a meaning."""
    buffers = {name: value.clone() for name, value in state.named_buffers()}
    return {'total': F.normalize(buffers['total'], dim=0)} if isinstance(state, RunningDirection) else buffers


def fed(name: str, rank: int | None = None) -> torch.nn.Module:
    """The state after all batches."""
    build, update = CASES[name]
    state = build()
    for batch in batches(rank):
        update(state, *batch)
    return state


@EACH
def test_resume_is_exact(name):
    build, update = CASES[name]
    state = build()
    for batch in batches():
        file = io.BytesIO()
        torch.save(state.state_dict(), file)
        file.seek(0)
        state = build()
        state.load_state_dict(torch.load(file, weights_only=True))
        update(state, *batch)
    torch.testing.assert_close(values(state), values(fed(name)), rtol=0, atol=0)


def states_of_rank(rank: int) -> dict:
    return {name: values(fed(name, rank)) for name in CASES}


@pytest.fixture(scope='module')
def two_ranks(tmp_path_factory):
    return on_ranks(states_of_rank, tmp_path_factory.mktemp('ranks'))


@EACH
def test_two_ranks_equal_one_process_on_the_joint_batch(name, two_ranks):
    first, second = (rank[name] for rank in two_ranks)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, values(fed(name)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@EACH
def test_a_model_of_half_precision_keeps_the_state_exact(name, dtype):
    build, update = CASES[name]
    state, expected = build(), build()
    dtypes = {name: value.dtype for name, value in expected.named_buffers()}
    torch.nn.Sequential(state).to(dtype)
    for feature, label, index in batches():
        update(expected, feature.to(dtype).float(), label, index)
        with torch.autocast('cpu', dtype=dtype):
            update(state, feature.to(dtype), label, index)
    assert {name: value.dtype for name, value in state.named_buffers()} == dtypes
    torch.testing.assert_close(values(state), values(expected))


@EACH
def test_a_model_of_double_precision_keeps_every_digit(name):
    state = CASES[name][0]()
    dtypes = {name: value.dtype for name, value in state.named_buffers()}
    state.double()
    expected = {name: torch.float64 if dtype.is_floating_point else dtype for name, dtype in dtypes.items()}
    assert {name: value.dtype for name, value in state.named_buffers()} == expected


@EACH
def test_an_empty_batch_and_evaluation_mode_change_nothing(name):
    state = fed(name)
    before = values(state)
    CASES[name][1](state, *(value[:0] for value in batches()[0]))
    CASES[name][1](state.eval(), *batches()[0])
    torch.testing.assert_close(values(state), before)


@EACH
def test_moves_to_another_device(name):
    build, update = CASES[name]
    state = build()
    torch.nn.Sequential(state).to('meta')
    for batch in batches():
        update(state, *(value.to('meta') for value in batch))  # fails if a tensor of the CPU takes part
    assert all(value.is_meta for value in state.buffers())
