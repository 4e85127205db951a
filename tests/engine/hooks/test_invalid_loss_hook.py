import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from toy import toy_config

from ltmm.engine import InvalidLossHook
from ltmm.engine.hooks.invalid_loss_hook import _images


def test_nan_loss_stops_training(tmp_path):
    runner = Runner.from_cfg(toy_config(tmp_path))
    head_loss, seen = runner.model.head.loss_module.unreduced, []

    def nan_in_the_tenth_batch(score, label):
        seen.append(len(label))
        return head_loss(score, label) * (float('nan') if len(seen) == 10 else 1)

    runner.model.head.loss_module.unreduced = nan_in_the_tenth_batch
    with pytest.raises(
        FloatingPointError, match=r'epoch 2, iteration 10: .*nan.*Images of the batch: \[\d+(, \d+){7}\]'
    ):
        runner.train()
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())


def test_images_that_are_not_finite_are_named():
    samples = [DataSample(metainfo=dict(img_path=f'{name}.tif')) for name in 'abc']
    inputs = [torch.zeros(3, 2, 2, dtype=torch.uint8), torch.full((3, 2, 2), torch.nan), torch.zeros(3, 2, 2)]
    assert _images(dict(inputs=inputs, data_samples=samples)) == "Images that are not finite: ['b.tif']"
    assert _images(dict(inputs=[inputs] * 3, data_samples=samples)).startswith('Images of the batch')


def test_invalid_interval():
    with pytest.raises(ValueError, match='Expected `interval` to be int >= 1, but got 0'):
        InvalidLossHook(interval=0)


def test_labeled_and_unlabeled_images_are_named():
    labeled, unlabeled = ([DataSample(metainfo=dict(sample_idx=i))] for i in (4, 7))
    batch = dict(inputs=dict(labeled=[], unlabeled=[]), data_samples=dict(labeled=labeled, unlabeled=unlabeled))
    assert _images(batch) == 'Images of the batch: [4, 7]'
