from toy import ROOT
from toy_processes import run_program

FIND = """
import sys
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

for path in sys.argv[1:]:
    cfg = Config.fromfile(path)
    parts = dict(
        DATASETS=cfg.train_dataloader.dataset,
        MODELS=cfg.model,
        HOOKS=cfg.custom_hooks,
        LOOPS=cfg.train_cfg,
        METRICS=cfg.val_evaluator,
    )
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for name, part in parts.items():
            for kind in types(part):
                assert not kind.startswith('ltmm.') or getattr(registry, name).get(kind), (path, name, kind)
"""
CONFIGS = ['federated/gbme_r32', 'super_resolution/fpl_fsrcnn_x4', 'trajectory/fend_synthetic', 'video/lmr_ssv2_lt']


def test_a_new_process_finds_every_part():
    """A test process may have imported what a registry does not import by itself."""
    run = run_program('-c', FIND, *(ROOT / f'configs/{config}.py' for config in CONFIGS))
    assert run.returncode == 0, run.stderr[-2000:]
