import pytest
import torch

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.losses import RoIClsLoss

SCORE = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.2, -4.0], [-2.0, 1.5, 0.0], [4.0, 0.0, 2.0]])


def test_scores_are_sigmoids_and_a_last_column_of_zeros():
    scores = RoIClsLoss().get_activation(SCORE)
    assert scores.shape == (4, 4) and (scores[:, 3] == 0).all()
    torch.testing.assert_close(scores[:, :3], 1 / (1 + (-SCORE).exp()))


def test_accuracy_counts_objects_only():
    label = torch.tensor([0, 1, 3, 0])  # predicted 0, 0, background, 0
    assert RoIClsLoss().get_accuracy(SCORE, label)['acc_classes'] == pytest.approx(200 / 3)


def test_accuracy_without_objects_is_zero():
    assert RoIClsLoss().get_accuracy(SCORE, torch.full((4,), 3))['acc_classes'] == 0


def test_classifier_has_no_background_column():
    assert RoIClsLoss().get_cls_channels(1203) == 1203


def test_counts_of_the_config_must_be_those_of_the_head():
    with pytest.raises(ClassDistributionError, match=r'to have 3 entries, the `num_classes` of its head, but got 4'):
        RoIClsLoss(class_counts=[5, 4, 3, 100]).get_cls_channels(3)


def test_counts_of_the_training_data_must_be_those_of_the_head():
    loss = RoIClsLoss()
    loss.get_cls_channels(3)
    with pytest.raises(ClassDistributionError, match='to have 3 entries, but got 4'):
        loss.set_class_distribution(ClassDistribution([5, 4, 3, 100]))
