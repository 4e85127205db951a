import pytest
from toy import ROOT
from toy_processes import run_program

FIND = """
from mmengine.config import Config
from mmengine.registry import DefaultScope
from ltmm import registry

def types(node):
    if isinstance(node, dict):
        yield from [node['type']] if isinstance(node.get('type'), str) else []
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for part in node:
            yield from types(part)

cfg = Config.fromfile({path!r})
parts = dict(
    DATASETS=cfg.train_dataloader.dataset,
    MODELS=cfg.model,
    HOOKS=cfg.custom_hooks,
    LOOPS=cfg.train_cfg,
    METRICS=cfg.val_evaluator,
)
with DefaultScope.overwrite_default_scope(cfg.default_scope):
    for name, part in parts.items():
        own = [kind for kind in types(part) if kind.startswith('ltmm.')]
        missing = [kind for kind in own if getattr(registry, name).get(kind) is None]
        assert not missing, (name, missing)
"""
CONFIGS = ['federated/gbme_r32', 'super_resolution/fpl_fsrcnn_x4', 'trajectory/fend_synthetic', 'video/lmr_ssv2_lt']


@pytest.mark.parametrize('config', CONFIGS)
def test_a_new_process_finds_every_part(config):
    """A test process may have imported what a registry does not import by itself."""
    run = run_program('-c', FIND.format(path=str(ROOT / f'configs/{config}.py')))
    assert run.returncode == 0, run.stderr[-2000:]
