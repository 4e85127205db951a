import io
import json

import pytest
import torch
from torch import nn

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses import BalancedSoftmaxLoss
from ltmm.models.post_process import LogitAdjustment

COUNTS = [50, 20, 5]


def saved_and_loaded(state_dict: dict) -> dict:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_use_before_a_distribution_says_both_ways_to_give_one():
    with pytest.raises(RuntimeError, match=r'BalancedSoftmaxLoss needs .*class_counts=.*ClassDistributionHook'):
        BalancedSoftmaxLoss()(torch.zeros(1, 3), torch.tensor([0]))


def test_a_state_dict_carries_the_distribution_into_an_empty_module():
    source, target = BalancedSoftmaxLoss(class_counts=COUNTS), nn.Sequential(BalancedSoftmaxLoss())
    state = {f'0.{k}': v for k, v in saved_and_loaded(source.state_dict()).items()}
    assert not any(target.load_state_dict(state))
    assert target[0].get_class_distribution() == ClassDistribution(COUNTS)
    score, label = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    torch.testing.assert_close(target[0](score, label), source(score, label))
    assert ClassDistribution.from_state_dict(target.state_dict()) == ClassDistribution(COUNTS)


def test_explicit_counts_stay_when_data_or_checkpoint_bring_others():
    loss = BalancedSoftmaxLoss(class_counts=COUNTS)
    loss.set_class_distribution(ClassDistribution([1, 2, 3]))
    loss.load_state_dict(BalancedSoftmaxLoss(class_counts=[7, 7, 7]).state_dict())
    assert loss.get_class_distribution() == ClassDistribution(COUNTS)
    torch.testing.assert_close(loss.offset, torch.tensor(ClassDistribution(COUNTS).log_prior))


def test_training_data_replace_what_a_checkpoint_brought():
    loss = BalancedSoftmaxLoss()
    loss.load_state_dict(BalancedSoftmaxLoss(class_counts=COUNTS).state_dict())
    loss.set_class_distribution(ClassDistribution([1, 2, 3]))
    assert loss.get_class_distribution() == ClassDistribution([1, 2, 3])


@pytest.mark.parametrize(
    'counts, hint', [([1] * 99, 'expected .* 100 entries, but got 99'), ([1] * 101, '100 entries, but got 101.$')]
)
def test_wrong_number_of_counts_is_caught_at_build(counts, hint):
    with pytest.raises(ClassDistributionError, match=hint):
        BalancedSoftmaxLoss(class_counts=counts, num_classes=100)


def test_data_with_another_number_of_classes_than_the_explicit_counts():
    loss = BalancedSoftmaxLoss(class_counts=COUNTS)
    with pytest.raises(
        ClassDistributionError, match='to have 4 entries, one per class of the training data, but got 3'
    ):
        loss.set_class_distribution(ClassDistribution([1, 2, 3, 4]))


def test_derived_tensors_follow_the_module_and_are_not_saved():
    loss = BalancedSoftmaxLoss(class_counts=COUNTS).to('meta')
    assert loss.offset.device.type == 'meta'
    assert set(loss.state_dict()) == {
        f'class_distribution.{k}' for k in ('instance_counts', 'image_counts', 'num_images')
    }


def test_a_checkpoint_of_other_classes_does_not_replace_the_distribution():
    loss = BalancedSoftmaxLoss(num_classes=3)
    loss.set_class_distribution(ClassDistribution(COUNTS))
    loss.load_state_dict(BalancedSoftmaxLoss(class_counts=[1] * 4).state_dict(), strict=False)
    assert loss.get_class_distribution() == ClassDistribution(COUNTS)


@pytest.mark.parametrize('module', [BalancedSoftmaxLoss, LogitAdjustment])
@pytest.mark.parametrize('kind', ['dictionary', 'file', 'file of to_dict()'])
def test_counts_by_name_take_the_order_of_the_data(tmp_path, module, kind):
    counts = dict(fox=5, dog=50, cat=20)
    if kind != 'dictionary':
        path = tmp_path / 'counts.json'
        path.write_text(json.dumps(counts if kind == 'file' else ClassDistribution.build(counts).to_dict()))
        counts = str(path)
    loss = module(class_counts=counts)
    loss.set_class_distribution(ClassDistribution([1, 1, 1], class_names=['dog', 'cat', 'fox']))
    assert loss.get_class_distribution() == ClassDistribution(COUNTS)
    with pytest.raises(ClassDistributionError, match="'fox' .*Valid names: dog, cat, emu"):
        loss.set_class_distribution(ClassDistribution([1, 1, 1], class_names=['dog', 'cat', 'emu']))


def test_counts_by_name_are_of_no_use_without_the_names():
    with pytest.raises(RuntimeError, match='ClassDistributionHook'):
        BalancedSoftmaxLoss(class_counts=dict(fox=5, dog=50))(torch.zeros(1, 2), torch.tensor([0]))
    with pytest.raises(ClassDistributionError, match='class names in the training data.*as a list'):
        BalancedSoftmaxLoss(class_counts=dict(fox=5, dog=50)).set_class_distribution(ClassDistribution([1, 1]))


def test_counts_of_a_detection_set_as_a_dictionary():
    counts = ClassDistribution([9, 4], [5, 3], num_images=7).to_dict()
    assert BalancedSoftmaxLoss(class_counts=counts).get_class_distribution() == ClassDistribution.build(counts)
