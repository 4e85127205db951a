"""The README's snippets run as they stand."""

import json
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_SCHEDULERS
from mmengine.registry import init_default_scope
from PIL import Image
from toy import ROOT
from toy_lvis import lvis_content

from ltmm import ClassDistribution
from ltmm.datasets import class_distribution_of
from ltmm.models.state.class_distribution import ClassDistributionBuffer

SECTIONS = re.split(r'^## ', (ROOT / 'README.md').read_text(), flags=re.M)
SNIPPETS = {
    section.partition('\n')[0]: code.group(1)
    for section in SECTIONS
    if (code := re.search(r'```python\n(.+?)```', section, re.S))
}
needs_installation = pytest.mark.skipif(
    not (ROOT / 'ltmm/.mim').exists(), reason="'ltmm::' resolves in an installed ltmm only: make install"
)


@pytest.mark.parametrize('heading', ['Your own data', 'Your own boxes', 'Your own images with several labels'])
def test_your_own_data_takes_about_ten_lines(heading):
    assert len(SNIPPETS[heading].splitlines()) <= 12


@needs_installation
def test_your_own_data(tmp_path, monkeypatch):
    for split, counts in (('train', (5, 2)), ('val', (1, 1))):
        for name, count in zip(('cat', 'dog'), counts):
            folder = tmp_path / 'my' / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / f'{i}.png')
    (tmp_path / 'mine.py').write_text(SNIPPETS['Your own data'])
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile('mine.py')
    init_default_scope(cfg.default_scope)
    dataset = ROOT_DATASETS.build(cfg.train_dataloader.dataset)
    assert class_distribution_of(dataset) == ClassDistribution([5, 2])
    ROOT_SAMPLERS.build(dict(cfg.train_dataloader.sampler, dataset=dataset, seed=0))
    assert dataset[0]['inputs'].shape == (3, 224, 224)
    assert ROOT_DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs'].shape == (3, 224, 224)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 12
    assert cfg.model.head.loss.type == 'ltmm.BalancedSoftmaxLoss'
    ROOT_MODELS.build(dict(cfg.model.head))


@pytest.fixture
def my_boxes(tmp_path, monkeypatch):
    """Boxes of 12 classes in COCO's layout, in the folder ``my``, which is found from here."""
    content = lvis_content()
    for record in (*content['images'], *content['categories']):
        for field in ('neg_category_ids', 'not_exhaustive_category_ids', 'frequency', 'coco_url'):
            record.pop(field, None)
    content['categories'] += [dict(id=20 + i, name=f'class {i}') for i in range(8)]
    (tmp_path / 'my/images').mkdir(parents=True)
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.png'
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / 'my/images' / image['file_name'])
    for name in ('train', 'val'):
        (tmp_path / f'my/{name}.json').write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    return content


@needs_installation
def test_your_own_boxes(my_boxes, tmp_path):
    (tmp_path / 'mine.py').write_text(SNIPPETS['Your own boxes'])
    cfg = Config.fromfile('mine.py')
    init_default_scope(cfg.default_scope)
    dataset = ROOT_DATASETS.build(cfg.train_dataloader.dataset)
    distribution = class_distribution_of(dataset)
    assert distribution.image_counts.tolist() == [8, *distribution.image_counts[1:4], *[0] * 8]
    assert len(dataset[0]['data_samples'].gt_instances) > 0
    metric = ROOT_METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = ROOT_DATASETS.build(cfg.test_dataloader.dataset).metainfo
    metric.set_class_distribution(distribution)
    cfg.model.backbone.pop('init_cfg')
    assert ROOT_MODELS.build(cfg.model).roi_head.bbox_head.fc_cls.out_features == 13


@needs_installation
def test_your_own_images_with_several_labels(my_boxes, tmp_path):
    (tmp_path / 'mine.py').write_text(SNIPPETS['Your own images with several labels'])
    cfg = Config.fromfile('mine.py')
    init_default_scope(cfg.default_scope)
    dataset = ROOT_DATASETS.build(cfg.train_dataloader.dataset)
    states = np.stack([sample['data_samples'].gt_score for sample in dataset])
    assert states.shape == (8, 12) and {0, 1} == set(states.ravel()) and states[:, 0].all()
    assert len(ROOT_DATASETS.build(cfg.test_dataloader.dataset)[0]['data_samples'].gt_score) == 12
    assert ROOT_MODELS.build(dict(cfg.model.head)).num_classes == cfg.data_preprocessor.num_classes == 12


@needs_installation
@pytest.mark.parametrize('base, model', [('cifar100_lt/ce_r32.py', 'ImageClassifier'), ('lvis/eql_r50.py', 'MaskRCNN')])
def test_a_new_experiment_inherits_from_the_package_and_is_built(tmp_path, base, model):
    (tmp_path / 'new.py').write_text(f"_base_ = ['ltmm::{base}']\n")
    cfg = Config.fromfile(tmp_path / 'new.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.pop('init_cfg', None)
    built = ROOT_MODELS.build(cfg.model)
    assert type(built).__name__ == model
    assert ClassDistributionBuffer in map(type, built.modules())
    for hook in cfg.custom_hooks:
        assert ROOT_HOOKS.build(hook).__module__.startswith('ltmm.')
    for scheduler in cfg.param_scheduler:
        assert ROOT_SCHEDULERS.build(dict(scheduler, optimizer=torch.optim.SGD(built.parameters(), lr=0.1)))


@needs_installation
def test_the_experiment_of_the_readme(tmp_path):
    (tmp_path / 'new.py').write_text(SNIPPETS['Use'])
    cfg = Config.fromfile(tmp_path / 'new.py')
    assert cfg.train_dataloader.dataset.imbalance_factor == 50
    assert cfg.train_dataloader.sampler == dict(type='ltmm.PowerSampler', power=0.5)
    init_default_scope(cfg.default_scope)
    assert type(ROOT_MODELS.build(cfg.model).head.loss_module).__name__ == 'BalancedSoftmaxLoss'
