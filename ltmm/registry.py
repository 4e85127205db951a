"""Registries of ltmm: children of MMEngine's, reached from every config as ``type='ltmm.Xxx'``.

The modules of a registry are imported when the first of its names is looked up, so ``import ltmm`` stays cheap.
Importing this module also makes ``_base_ = ['ltmm::...']`` resolve.
"""

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DefaultScope, Registry

__all__ = [
    'DATASETS',
    'DATA_SAMPLERS',
    'FUNCTIONS',
    'HOOKS',
    'LOOPS',
    'METRICS',
    'MODELS',
    'OPTIM_WRAPPERS',
    'PARAM_SCHEDULERS',
    'POST_PROCESSORS',
    'STAGES',
    'TRANSFORMS',
]

MODULE2PACKAGE.setdefault('ltmm', 'ltmm')
FRAMEWORKS = ('mmpretrain', 'mmdet')
MODEL_PACKAGES = [
    f'ltmm.models.{package}'
    for package in (
        'state',
        'losses',
        'layers',
        'necks',
        'backbones',
        'heads',
        'classifiers',
        'data_preprocessors',
        'batch_augments',
        'post_process',
        'dense_heads',
        'detectors',
        'roi_heads',
    )
]


class PluginRegistry(Registry):
    """A registry that also finds the modules of the framework in use, mmpretrain or mmdet.

    MMEngine builds configs with an ``'ltmm::'`` base in scope ``'ltmm'``. These configs use the names of their
    ``default_scope``, mmpretrain or mmdet, and the prefix ``'ltmm.'`` for modules of ltmm.
    """

    def get(self, key: str) -> type | None:
        """Return the class with a name; search ltmm, then the framework, then MMEngine."""
        self.import_from_location()
        if key in self.module_dict or '.' in key:
            return super().get(key)
        framework = self.root._search_child(_framework())
        return super().get(key) if framework is None else framework.get(key)


def _framework() -> str:
    """Return the last default scope that is mmpretrain or mmdet; None if there is none."""
    scopes = [scope.scope_name for scope in DefaultScope._instance_dict.values()]
    return next((scope for scope in reversed(scopes) if scope in FRAMEWORKS), FRAMEWORKS[0])


DATASETS = PluginRegistry('dataset', parent=mmengine_registry.DATASETS, locations=['ltmm.datasets'])
DATA_SAMPLERS = PluginRegistry(
    'data sampler', parent=mmengine_registry.DATA_SAMPLERS, locations=['ltmm.datasets.samplers']
)
TRANSFORMS = PluginRegistry('transform', parent=mmengine_registry.TRANSFORMS, locations=['ltmm.datasets'])
FUNCTIONS = PluginRegistry('function', parent=mmengine_registry.FUNCTIONS, locations=['ltmm.datasets'])
MODELS = PluginRegistry('model', parent=mmengine_registry.MODELS, locations=MODEL_PACKAGES)
OPTIM_WRAPPERS = PluginRegistry('optim_wrapper', parent=mmengine_registry.OPTIM_WRAPPERS, locations=['ltmm.engine'])
PARAM_SCHEDULERS = PluginRegistry(
    'parameter scheduler', parent=mmengine_registry.PARAM_SCHEDULERS, locations=['ltmm.engine']
)
HOOKS = PluginRegistry('hook', parent=mmengine_registry.HOOKS, locations=['ltmm.engine'])
LOOPS = PluginRegistry('loop', parent=mmengine_registry.LOOPS, locations=['ltmm.engine'])
METRICS = PluginRegistry('metric', parent=mmengine_registry.METRICS, locations=['ltmm.evaluation'])
STAGES = PluginRegistry('stage', locations=['ltmm.engine.stages'])
POST_PROCESSORS = PluginRegistry('post-processor', locations=['ltmm.engine.post_process'])

# nothing of ltmm's own is in these: they let an 'ltmm::' base find the framework's
for _name in (
    'LOG_PROCESSORS',
    'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'TASK_UTILS',
    'VISBACKENDS',
    'VISUALIZERS',
):
    _parent = getattr(mmengine_registry, _name)
    PluginRegistry(_parent.name, parent=_parent, scope='ltmm', locations=['ltmm.registry'])
