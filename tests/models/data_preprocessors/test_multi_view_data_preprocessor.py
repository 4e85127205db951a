import pytest
import torch
from mmpretrain.structures import DataSample

import ltmm.models.batch_augments  # noqa: F401  (as custom_imports does in a config file)
from ltmm.models.data_preprocessors import MultiViewDataPreprocessor
from ltmm.registry import MODELS


def processor(**options) -> MultiViewDataPreprocessor:
    return MODELS.build(dict(type='ltmm.MultiViewDataPreprocessor', mean=[10.0] * 3, std=[2.0] * 3, **options))


def test_views_become_one_batch_view_after_view():
    views = [torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8) for _ in range(2)]
    samples = [DataSample().set_gt_label(label) for label in (0, 1)]
    out = processor()(dict(inputs=views, data_samples=samples), training=True)
    torch.testing.assert_close(out['inputs'], (torch.cat(views).float() - 10) / 2)
    assert [int(sample.gt_label) for sample in out['data_samples']] == [0, 1]


def test_single_images_are_left_to_mmpretrain():
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(processor()(dict(inputs=images))['inputs'], (images.float() - 10) / 2)


@pytest.mark.parametrize('inputs', [[torch.zeros(3, 4, 4)] * 2, [(torch.zeros(3, 4, 4),) * 2] * 2])
def test_refuses_images_that_are_not_stacked(inputs):
    """As another collate_fn leaves single images, or the images of each view."""
    with pytest.raises(TypeError, match="collate_fn=dict\\(type='default_collate'\\)"):
        processor()(dict(inputs=inputs))


def test_refuses_views_of_different_sizes():
    with pytest.raises(ValueError, match=r'views of one size, but got \[\(2, 3, 4, 4\), \(2, 3, 8, 8\)\]'):
        processor()(dict(inputs=[torch.zeros(2, 3, size, size) for size in (8, 4)]))


@pytest.mark.parametrize('augment', [dict(type='Mixup', alpha=0.2), dict(type='ltmm.UniMix')])
def test_refuses_to_mix_single_images(augment):
    with pytest.raises(ValueError, match='several views, such as ltmm.GlobalLocalMix, but got (Mixup|UniMix): remove'):
        processor(num_classes=3, batch_augments=dict(augments=augment))


@pytest.mark.parametrize('training', [True, False])
def test_mixes_both_views(training):
    model = processor(num_classes=3, batch_augments=dict(augments=dict(type='ltmm.GlobalLocalMix')))
    augment = model.batch_augments.augments[0]
    augment.mix = lambda inputs, score: (-inputs, score / 2)
    views = [torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8) for _ in range(2)]
    samples = [DataSample().set_gt_label(label) for label in (0, 2)]
    out = model(dict(inputs=views, data_samples=samples), training=training)
    sign, share = (-1, 0.5) if training else (1, 1)
    torch.testing.assert_close(out['inputs'], sign * (torch.cat(views).float() - 10) / 2)
    scores = [sample.gt_score.tolist() for sample in out['data_samples']]
    assert scores == [[share, 0, 0], [0, 0, share]] and out['data_samples'][1].gt_label.item() == 2


def test_refuses_batches_without_images():
    with pytest.raises(ValueError, match=r"Expected batches with 'inputs', but got \['img'\].*PackInputs"):
        processor()(dict(img=torch.zeros(2, 3, 4, 4)))
