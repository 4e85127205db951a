"""Versions of everything that matters to a result, for bug reports: ``python -m ltmm.utils.collect_env``."""

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import ltmm

from .environment import EnvironmentProblem, check_environment

__all__ = ['collect_env']

MODULES = ('mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'pycocotools', 'lvis', 'numpy')


def collect_env() -> dict[str, str]:
    """Names and values, in the order in which they are printed; works in a broken installation too."""
    try:
        from mmengine.utils.dl_utils import collect_env as collect_base_env

        info = {name: str(value) for name, value in collect_base_env().items()}
    except Exception as e:
        info = {'sys.platform': sys.platform, 'Python': platform.python_version(), 'PyTorch': f'unusable: {e}'}
    for name in ('PyTorch compiling details', 'numpy_random_seed', 'MMEngine'):  # noise, noise, and told below
        info.pop(name, None)
    distributions = metadata.packages_distributions()
    for module in MODULES:
        found = [f'{name} {metadata.version(name)}' for name in sorted(set(distributions.get(module, [])))]
        info[module] = ', '.join(found) or 'not installed'
    info['ltmm'] = ltmm.__version__ + _git_hash()
    for task in ('classification', 'detection'):
        info[f'{task} works'] = _verdict(detection=task == 'detection')
    return info


def _verdict(detection: bool) -> str:
    try:
        check_environment(detection)
    except EnvironmentProblem as e:
        return f'no. {e}'
    return 'yes'


def _git_hash() -> str:
    """``'+'`` and the commit of the checkout ltmm is imported from; empty where it is no checkout."""
    root = Path(ltmm.__file__).parents[1]
    if not (root / '.git').exists():
        return ''
    try:
        git = ['git', '-C', root, 'rev-parse', '--short', 'HEAD']
        return '+' + subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


if __name__ == '__main__':
    for name, value in collect_env().items():
        print(f'{name}: {value}')
