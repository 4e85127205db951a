"""The README's snippets run as they stand."""

import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import PARAM_SCHEDULERS as ROOT_SCHEDULERS
from mmengine.registry import init_default_scope
from PIL import Image
from toy import ROOT

from ltmm import ClassDistribution
from ltmm.datasets import class_distribution_of
from ltmm.models.state.class_distribution import ClassDistributionBuffer
from ltmm.utils.references import resolve_references

SECTIONS = re.split(r'^## ', (ROOT / 'README.md').read_text(), flags=re.M)
SNIPPETS = {section.partition('\n')[0]: re.findall(r'```python\n(.+?)```', section, re.S) for section in SECTIONS}
needs_installation = pytest.mark.skipif(
    not (ROOT / 'ltmm/.mim').exists(), reason="'ltmm::' resolves in an installed ltmm only: make install"
)


@needs_installation
def test_whole_config_for_own_photos(tmp_path):
    (tmp_path / 'mine.py').write_text(SNIPPETS['Your own data'][0])
    cfg = Config.fromfile(tmp_path / 'mine.py')
    cfg.num_classes = 12
    resolve_references(cfg)
    parts = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    assert {part.dataset.dataset.data_root for part in parts} == {'my/photos'}
    assert cfg.model.head.loss.type == 'ltmm.BalancedSoftmaxLoss'


@needs_installation
def test_own_data_in_the_recipe_of_a_benchmark(tmp_path, monkeypatch):
    for split, counts in (('train', (5, 2)), ('val', (1, 1))):
        for name, count in zip(('cat', 'dog'), counts):
            folder = tmp_path / 'my' / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / f'{i}.png')
    (tmp_path / 'mine.py').write_text(SNIPPETS['Your own data'][1])
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
    (tmp_path / 'new.py').write_text(SNIPPETS['Use'][0])
    cfg = Config.fromfile(tmp_path / 'new.py')
    assert cfg.train_dataloader.dataset.imbalance_factor == 50
    assert cfg.train_dataloader.sampler == dict(type='ltmm.PowerSampler', power=0.5)
    init_default_scope(cfg.default_scope)
    assert type(ROOT_MODELS.build(cfg.model).head.loss_module).__name__ == 'BalancedSoftmaxLoss'
