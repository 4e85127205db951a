import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from ltmm.models.classifiers.rotation_pretrainer import draw_quarter_turns, rotated
from ltmm.registry import MODELS


def model():
    return MODELS.build(
        dict(
            type='ltmm.RotationPretrainer',
            backbone=dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8)),
            head=dict(type='LinearClsHead', num_classes=4, in_channels=8, cal_acc=True),
        )
    )


@pytest.mark.parametrize('n', [1, 3, 4, 9, 128])
def test_turns_are_nearly_even(n):
    counts = torch.stack([draw_quarter_turns(n).bincount(minlength=4) for _ in range(20)])
    assert (counts.sum(1) == n).all()
    assert counts.max() <= n // 4 + 1  # of a permutation of n // 4 + 1 of each
    assert (counts.amax(0) > counts.amin(0)).all()  # no turn comes more often than another in all batches


def test_images_turn_counter_clockwise():
    images = torch.arange(4.0).view(1, 1, 2, 2).repeat(4, 1, 1, 1)  # 0 1 / 2 3
    turned = rotated(images, torch.tensor([0, 1, 2, 3])).flatten(1)
    assert turned.tolist() == [[0, 1, 2, 3], [1, 3, 0, 2], [3, 2, 1, 0], [2, 0, 3, 1]]


def test_loss_is_that_of_the_head_on_rotated_images():
    network, images = model(), torch.randn(5, 3, 8, 8)
    np.random.seed(3)
    losses = network.loss(images, [DataSample() for _ in range(5)])  # without labels
    np.random.seed(3)
    turns = draw_quarter_turns(5)
    logits = network.head((network.backbone(rotated(images, turns))[-1],))
    torch.testing.assert_close(losses['loss'], torch.nn.functional.cross_entropy(logits, turns))
    assert set(losses) == {'loss', 'accuracy_top-1'}


@pytest.mark.parametrize('images', [torch.randn(2, 3, 8, 6), [torch.randn(2, 3, 8, 8)] * 2])
def test_other_images_are_refused(images):
    with pytest.raises(ValueError, match='one view of square images'):
        model().loss(images, [DataSample()] * 2)
