"""Configs with stages name stages, parts and layers that exist."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ltmm.engine.post_process.validation_data import validation_dataset
from ltmm.engine.stages import PostProcessStage, TrainStage, read_stages
from ltmm.models.post_process import PostProcess
from ltmm.registry import MODELS
from ltmm.utils.launch import common_parser

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
def test_last_stage_starts_from_the_one_before(path, tmp_path):
    before, last = read_stages(common_parser('').parse_args([str(path), '--work-dir', str(tmp_path)]))
    assert type(before) is TrainStage
    names = {name for name, _ in model_of(before.cfg).named_parameters()}
    if isinstance(last, PostProcessStage):
        assert Config.fromfile(path).train_dataloader is None
        assert isinstance(MODELS.build(last.step), PostProcess)
        if last.search is not None:
            validation_dataset(last.cfg, last.search.get('val_split'))  # finds data to search on
        return
    own = {name for name, _ in model_of(last.cfg).named_parameters()}
    frozen = [prefix for hook in last.cfg.custom_hooks for prefix in hook.get('prefixes', [])]
    for prefix in frozen:
        held = {name for name in own if name == prefix or name.startswith(prefix + '.')}
        assert held and held <= names  # the checkpoint has all that is frozen or loaded
    for hook in last.cfg.custom_hooks:
        for old, new in hook.get('rename', {}).items():
            loaded = {new + name.removeprefix(old) for name in names if name.startswith(old + '.')}
            assert loaded and loaded <= own
    assert last.cfg.train_dataloader.sampler.type == 'ltmm.ClassAwareSampler'
    assert not all(name.startswith(tuple(frozen)) for name in own)  # something is left to train
