"""Registries of ltmm: children of MMEngine's, reached from every config as ``type='ltmm.Xxx'``.

The modules of a registry are imported when the first of its names is looked up, so ``import ltmm`` stays cheap.
Importing this module also makes ``_base_ = ['ltmm::...']`` resolve.
"""

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'FUNCTIONS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'TRANSFORMS',
]

MODULE2PACKAGE.setdefault('ltmm', 'ltmm')

DATASETS = Registry('dataset', parent=mmengine_registry.DATASETS, locations=['ltmm.datasets'])
DATA_SAMPLERS = Registry('data sampler', parent=mmengine_registry.DATA_SAMPLERS, locations=['ltmm.datasets.samplers'])
TRANSFORMS = Registry('transform', parent=mmengine_registry.TRANSFORMS, locations=['ltmm.datasets'])
FUNCTIONS = Registry('function', parent=mmengine_registry.FUNCTIONS, locations=['ltmm.datasets'])
MODELS = Registry('model', parent=mmengine_registry.MODELS, locations=['ltmm.models'])
OPTIM_WRAPPERS = Registry('optimizer_wrapper', parent=mmengine_registry.OPTIM_WRAPPERS, locations=['ltmm.engine'])
HOOKS = Registry('hook', parent=mmengine_registry.HOOKS, locations=['ltmm.engine'])
LOOPS = Registry('loop', parent=mmengine_registry.LOOPS, locations=['ltmm.engine'])
METRICS = Registry('metric', parent=mmengine_registry.METRICS, locations=['ltmm.evaluation'])
