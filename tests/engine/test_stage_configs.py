"""The configs of several stages name stages, parts and layers that exist."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ltmm.engine.post_process.validation_data import validation_dataset
from ltmm.models.post_process import PostProcess
from ltmm.registry import MODELS

ROOT = Path(__file__).parents[2]
STAGED = [
    path
    for path in sorted((ROOT / 'configs').glob('*/*.py'))
    if path.parent.name not in ('_base_', 'foda_lt', 'lvis') and 'stages' in Config.fromfile(path)
]


def model_of(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('path', [pytest.param(p, id=f'{p.parent.name}/{p.stem}') for p in STAGED])
def test_the_last_stage_starts_from_the_one_before(path):
    cfg = Config.fromfile(path)
    before = Config.fromfile(cfg.stages[-1])
    names = {name for name, _ in model_of(before).named_parameters()}
    own = {name for name, _ in model_of(cfg).named_parameters()}
    frozen = [prefix for hook in cfg.custom_hooks for prefix in hook.get('prefixes', [])]
    for prefix in frozen:
        held = {name for name in own if name == prefix or name.startswith(prefix + '.')}
        assert held and held <= names  # what is frozen or loaded comes out of the checkpoint
    if cfg.get('post_process'):
        assert cfg.train_dataloader is None
        assert isinstance(MODELS.build(cfg.post_process.step), PostProcess)
        if 'search' in cfg.post_process:
            validation_dataset(before, cfg.post_process.search.get('val_split'))  # there are data to search on
    else:
        assert cfg.train_dataloader.sampler.type == 'ltmm.ClassAwareSampler'
        assert not all(name.startswith(tuple(frozen)) for name in own)  # something is left to learn
