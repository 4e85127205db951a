"""Registries of ltmm: children of MMEngine's, reached from every config as ``type='ltmm.Xxx'``.

The packages of a registry are imported one after another until a name is found, so ``import ltmm`` stays cheap, and
losses, samplers and metrics are found where mmcv, mmpretrain and mmdet are not installed.
Importing this module also makes ``_base_ = ['ltmm::...']`` resolve.
"""

from importlib import import_module

from mmengine import registry as mmengine_registry
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DefaultScope, Registry

from ltmm.utils.environment import needs_frameworks

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
    'VISBACKENDS',
]

MODULE2PACKAGE.setdefault('ltmm', 'ltmm')
FRAMEWORKS = ('mmpretrain', 'mmdet')
MODEL_PACKAGES = [
    f'ltmm.models.{package}'
    for package in (
        'state',
        'losses',
        'layers',
        'selectors',
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
DATASET_PACKAGES = [
    f'ltmm.datasets.{package}'
    for package in (
        'labels',
        'wrappers',
        'transforms',
        'images',
        'feature_dataset',
        'cifar',
        'cifar100_mosaics',
        'fashion_mnist',
        'stl10',
        'imagenet127',
        'custom',
        'csv_dataset',
        'list_file',
        'multi_label_lt',
        'detection_as_multi_label',
        'detection',
    )
]
TASK_PACKAGES = [f'ltmm.tasks.{task}' for task in ('federated', 'super_resolution', 'trajectory', 'video')]
ALL_PACKAGES = [*DATASET_PACKAGES, 'ltmm.engine', 'ltmm.evaluation.metrics', *MODEL_PACKAGES, *TASK_PACKAGES]


class PluginRegistry(Registry):
    """A registry that also finds the modules of the framework in use, mmpretrain or mmdet.

    MMEngine builds configs with an ``'ltmm::'`` base in scope ``'ltmm'``. These configs use the names of their
    ``default_scope``, mmpretrain or mmdet, and the prefix ``'ltmm.'`` for modules of ltmm.
    """

    def import_from_location(self, name: str | None = None) -> None:
        """Import the packages of this registry, up to the one that registers ``name``; all without a name."""
        for location in () if self._imported else self._locations:
            if name in self.module_dict:
                return
            with needs_frameworks():
                import_module(location)
        self._imported = True

    def get(self, key: str) -> type | None:
        """Return the class with a name; search ltmm, then the framework, then MMEngine."""
        self.import_from_location(key.removeprefix('ltmm.'))
        if key in self.module_dict or '.' in key:
            return self.module_dict.get(key.removeprefix('ltmm.')) or super().get(key)
        framework = self.root._search_child(_framework())
        return super().get(key) if framework is None else framework.get(key)


def _framework() -> str:
    """Return the last default scope that is mmpretrain or mmdet; None if there is none."""
    scopes = [scope.scope_name for scope in DefaultScope._instance_dict.values()]
    return next((scope for scope in reversed(scopes) if scope in FRAMEWORKS), FRAMEWORKS[0])


DATASETS = PluginRegistry('dataset', parent=mmengine_registry.DATASETS, locations=[*DATASET_PACKAGES, *TASK_PACKAGES])
DATA_SAMPLERS = PluginRegistry(
    'data sampler', parent=mmengine_registry.DATA_SAMPLERS, locations=['ltmm.datasets.samplers']
)
TRANSFORMS = PluginRegistry('transform', parent=mmengine_registry.TRANSFORMS, locations=DATASET_PACKAGES)
FUNCTIONS = PluginRegistry('function', parent=mmengine_registry.FUNCTIONS, locations=DATASET_PACKAGES)
MODELS = PluginRegistry('model', parent=mmengine_registry.MODELS, locations=[*MODEL_PACKAGES, *TASK_PACKAGES])
OPTIM_WRAPPERS = PluginRegistry('optim_wrapper', parent=mmengine_registry.OPTIM_WRAPPERS, locations=['ltmm.engine'])
PARAM_SCHEDULERS = PluginRegistry(
    'parameter scheduler', parent=mmengine_registry.PARAM_SCHEDULERS, locations=['ltmm.engine']
)
HOOKS = PluginRegistry('hook', parent=mmengine_registry.HOOKS, locations=['ltmm.engine', 'ltmm.tasks.trajectory.hook'])
LOOPS = PluginRegistry('loop', parent=mmengine_registry.LOOPS, locations=['ltmm.engine', *TASK_PACKAGES])
METRICS = PluginRegistry(
    'metric', parent=mmengine_registry.METRICS, locations=['ltmm.evaluation.metrics', *TASK_PACKAGES]
)
VISBACKENDS = PluginRegistry('vis_backend', parent=mmengine_registry.VISBACKENDS, locations=['ltmm.visualization'])
STAGES = PluginRegistry('stage', locations=['ltmm.engine.stages'])
POST_PROCESSORS = PluginRegistry('post-processor', locations=['ltmm.engine.post_process'])

# nothing of ltmm's own is in these: they let an 'ltmm::' base find the framework's
for _name in (
    'LOG_PROCESSORS',
    'OPTIMIZERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'TASK_UTILS',
    'VISUALIZERS',
):
    _parent = getattr(mmengine_registry, _name)
    PluginRegistry(_parent.name, parent=_parent, scope='ltmm', locations=['ltmm.registry'])
