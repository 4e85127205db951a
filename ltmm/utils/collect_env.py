"""Collect the versions of all packages for a bug report: ``python -m ltmm.utils.collect_env``."""

import platform
import sys
from importlib import metadata

import ltmm

from .environment import EnvironmentProblem, check_environment, has_compiled_ops
from .provenance import commit

__all__ = ['collect_env']

MODULES = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'pycocotools', 'lvis', 'numpy')


def collect_env() -> dict[str, str]:
    """Collect names and versions, even in a broken installation."""
    try:
        from mmengine.utils.dl_utils import collect_env as collect_base_env

        info = {name: str(value) for name, value in collect_base_env().items()}
    except Exception as e:
        info = {'sys.platform': sys.platform, 'Python': platform.python_version(), 'PyTorch': f'unusable: {e}'}
    for name in ('PyTorch compiling details', 'numpy_random_seed', 'MMEngine'):  # long, random, and repeated below
        info.pop(name, None)
    distributions = metadata.packages_distributions()
    for module in MODULES:
        found = [f'{name} {metadata.version(name)}' for name in sorted(set(distributions.get(module, [])))]
        info[module] = ', '.join(found) or 'not installed'
    info['ops of mmcv'] = 'compiled' if has_compiled_ops() else 'of torchvision'
    info['ltmm'] = f'{ltmm.__version__} ({commit()})'
    for task in ('classification', 'detection'):
        info[f'{task} works'] = _verdict(detection=task == 'detection')
    return info


def _verdict(detection: bool) -> str:
    try:
        check_environment(detection)
    except EnvironmentProblem as e:
        return f'no. {e}'
    return 'yes'


if __name__ == '__main__':
    for name, value in collect_env().items():
        print(f'{name}: {value}')
