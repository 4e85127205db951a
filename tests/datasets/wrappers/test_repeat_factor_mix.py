import numpy as np
import pytest
from mmengine.registry import DefaultScope
from toy_lvis import CLASSES, dataset_config, lvis_content, write_lvis

pytest.importorskip('mmcv.ops')

from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.samplers import RepeatFactorSampler
from ltmm.registry import DATASETS

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
MIX = [
    dict(type='Mosaic', img_scale=(32, 32)),
    dict(type='MixUp', img_scale=(32, 32)),
    dict(type='PackDetInputs', meta_keys=('img_id',)),
]


@pytest.fixture
def build(tmp_path):
    write_lvis(tmp_path, lvis_content(num_images=12))

    def build(pipeline=MIX, **options):
        inner = dataset_config(tmp_path, pipeline=LOAD)
        options = dict(threshold=0.9) | options
        cfg = dict(type='ltmm.RepeatFactorMixDataset', dataset=inner, pipeline=pipeline, **options)
        with DefaultScope.overwrite_default_scope('mmdet'):
            return DATASETS.build(cfg)

    return build


def test_partners_by_repeat_factors(build):
    dataset = build()
    factors = RepeatFactorSampler(dataset.dataset, threshold=0.9).repeat_factors
    assert factors.max() > 1.5 * factors.min()
    np.testing.assert_allclose(dataset.partner_probability, factors / factors.sum())
    np.random.seed(0)
    mosaic = dataset.pipeline[0]
    drawn = np.bincount([i for _ in range(8000) for i in mosaic.get_indexes(dataset.dataset)], minlength=len(dataset))
    np.testing.assert_allclose(drawn / drawn.sum(), dataset.partner_probability, atol=0.006)


def test_warning_names_the_partners(build, monkeypatch):
    said = []
    monkeypatch.setattr('ltmm.datasets.wrappers.repeat_factor_mix.print_log', lambda text, **_: said.append(text))
    build(threshold=1e-9)
    assert len(said) == 1 and said[0].startswith('RepeatFactorMixDataset, partners: has no effect')


def test_first_and_last_position_are_images(build, monkeypatch):
    dataset = build()
    for position, image in ((min, 0), (max, len(dataset) - 1)):
        monkeypatch.setattr(np.random, 'randint', lambda first, last, position=position: position(first, last))
        assert dataset.pipeline[0].get_indexes(dataset.dataset) == [image] * 3
        assert dataset.pipeline[1].get_indexes(dataset.dataset) == [image]


def test_sampler_keeps_the_length_and_counts_stay(build):
    dataset = build()
    distribution = class_distribution_of(dataset)
    assert distribution == class_distribution_of(dataset.dataset) and distribution.num_classes == len(CLASSES)
    for length in (None, 20):
        sampler = RepeatFactorSampler(dataset, threshold=0.9, length=length, seed=0)
        sizes = []
        for epoch in range(3):
            sampler.set_epoch(epoch)
            sizes.append(len(list(sampler)))
        assert sizes == [len(sampler)] * 3
        assert len(sampler) == (length or round(sampler.repeat_factors.sum()))
    for index in list(sampler)[:4]:
        sample = dataset[index]
        assert sample['inputs'].shape == (3, 64, 64)
        assert (sample['data_samples'].gt_instances.labels < len(CLASSES)).all()


def test_transforms_can_be_switched_off(build):
    dataset = build()
    dataset.update_skip_type_keys(['Mosaic', 'MixUp'])
    inner = dataset.dataset[0]
    assert len(dataset[0]['data_samples'].gt_instances) == len(inner['gt_bboxes'])


def test_lazy(build):
    dataset = build(lazy_init=True)
    assert not hasattr(dataset.pipeline[0], 'ends')
    assert dataset[1]['inputs'].ndim == 3 and hasattr(dataset.pipeline[0], 'ends')
