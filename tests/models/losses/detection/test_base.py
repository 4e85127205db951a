import pytest
import torch

from ltmm.models.losses import DetectionLoss

SCORE = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.2, -4.0], [-2.0, 1.5, 0.0], [4.0, 0.0, 2.0]])


def test_scores_are_sigmoids_and_a_last_column_of_zeros():
    scores = DetectionLoss().get_activation(SCORE)
    assert scores.shape == (4, 4) and (scores[:, 3] == 0).all()
    torch.testing.assert_close(scores[:, :3], 1 / (1 + (-SCORE).exp()))


def test_accuracy_counts_objects_only():
    label = torch.tensor([0, 1, 3, 0])  # predicted 0, 0, background, 0
    assert DetectionLoss().get_accuracy(SCORE, label)['acc_classes'] == pytest.approx(200 / 3)


def test_accuracy_without_objects_is_zero():
    assert DetectionLoss().get_accuracy(SCORE, torch.full((4,), 3))['acc_classes'] == 0


def test_classifier_has_no_background_column():
    assert DetectionLoss().get_cls_channels(1203) == 1203


def test_scores_of_half_precision_are_told_apart_near_one():
    scores = DetectionLoss().get_activation(torch.tensor([[6.0, 7.0, 8.0]]).bfloat16())
    assert len(scores.unique()) == 4


def test_in_a_dense_head_the_scores_are_the_heads_affair():
    loss = DetectionLoss()
    assert loss.get_dense_channels(80) == 80
    assert not (loss.custom_cls_channels or loss.custom_activation or loss.custom_accuracy)
