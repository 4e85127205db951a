from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from ltmm.datasets import LabelTable
from ltmm.engine.hooks import PseudoLabelHook
from ltmm.models.losses import LossInputs
from ltmm.models.losses.semi import FixMatchLoss


class Data:
    true_labels = np.array([0, 1, 2, 0, 0, 1, 2, -1])

    def get_class_distribution(self):
        return LabelTable.from_labels([0, 0, 0, 1, 1, 2], 3).class_distribution()


def runner_of(dataset, name):
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), FixMatchLoss())
    hub = MessageHub.get_instance(name)
    return SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset), message_hub=hub, iter=0)


def test_counts_by_third_of_the_classes():
    runner, hook = runner_of(Data(), 'pseudo_label_hook'), PseudoLabelHook(interval=2)
    hook.before_train(runner)
    loss = runner.model[1]
    idx = torch.tensor([[3, 4, 7], [5, 6, 7]])  # the last one has no true label
    label = torch.tensor([[0, 1, 1], [1, 1, 1]])
    mask = torch.tensor([[True, False, True], [True, True, True]])
    for number in range(2):
        runner.iter = number
        inputs = LossInputs(torch.zeros(1), unlabeled_idx=idx[number])
        loss.report(inputs, label[number], torch.ones(3), mask[number])
        hook.after_train_iter(runner, number)
    values = {name: runner.message_hub.get_scalar(f'train/pseudo_{name}').current() for name in ('used', 'accuracy')}
    assert values == pytest.approx(dict(used=3 / 4, accuracy=2 / 3))
    by_third = {
        group: (
            runner.message_hub.get_scalar(f'train/pseudo_used_{group}').current(),
            runner.message_hub.get_scalar(f'train/pseudo_accuracy_{group}').current(),
        )
        for group in ('many', 'medium', 'few')
    }
    assert by_third == dict(many=(0.5, 1.0), medium=(1.0, 1.0), few=(1.0, 0.0))
    assert not hook.counts.any()


def test_other_data():
    with pytest.raises(TypeError, match='PseudoLabelHook needs .*SemiSupervised, but got 1 such losses and list'):
        PseudoLabelHook().before_train(runner_of([], 'pseudo_label_hook_other'))
