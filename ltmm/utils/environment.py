"""Check that the installed packages are present and compatible.

This module imports neither torch nor OpenMMLab at the top, so that it can report a broken installation.
"""

import sys
from collections.abc import Iterable
from configparser import ConfigParser
from functools import cache
from importlib import import_module, metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

__all__ = ['EnvironmentProblem', 'check_environment', 'check_installed', 'mmdet_is_usable']

DISTRIBUTIONS = dict(
    mmengine='onedl-mmengine', mmcv='onedl-mmcv', mmpretrain='onedl-mmpretrain', mmdet='onedl-mmdetection'
)


class EnvironmentProblem(RuntimeError):
    """A package is missing or incompatible; the message says what to install."""


def check_environment(detection: bool) -> None:
    """Raise an EnvironmentProblem if a package is missing, broken or outside the range in setup.cfg.

    Args:
        detection: Also check the packages that only detection needs.
    """
    _check('torch')
    _check('torchvision', together_with=('torch',))
    _check('mmengine')
    _check('mmcv')
    _check('mmpretrain', imports='mmpretrain.models')
    if detection:
        _check_compiled_ops()
        _check('mmdet', imports='mmdet.models')
        _check('pycocotools')
        _check('lvis')


def check_installed(*modules: str) -> None:
    """Raise an EnvironmentProblem if a package is missing; does not import them."""
    for module in modules:
        if find_spec(module) is None:
            raise EnvironmentProblem(f'{module} is not installed. Install it: {_pip_install(module)}')


@cache
def mmdet_is_usable() -> bool:
    """Whether mmdet and mmcv's compiled ops can be imported.

    Importing mmdet costs nothing extra: mmpretrain imports it where it is installed.
    """
    if find_spec('mmdet') is None or not _has_compiled_ops():
        return False
    try:
        import_module('mmdet.models')
    except Exception:  # a broken library raises anything; check_environment() reports it
        return False
    return True


def _check(module: str, imports: str | None = None, together_with: tuple[str, ...] = ()) -> None:
    """Raise unless ``module`` is installed, in range, and it and its submodule ``imports`` can be imported.

    Args:
        module: Name of the package as imported.
        imports: Submodule that imports all of a framework.
        together_with: Packages that have to be installed in the same command.
    """
    check_installed(module)
    requirement = _requirement(module)
    try:
        version = getattr(import_module(module), '__version__', None) or metadata.version(requirement.name)
        in_range = requirement.specifier.contains(version, prereleases=True)
        if in_range and imports:
            import_module(imports)
    except Exception as e:
        raise EnvironmentProblem(
            f'{module} is installed but cannot be imported ({_one_line(e)}). '
            f'Reinstall it: {_pip_install(*together_with, module)}'
        ) from e
    if not in_range:
        raise EnvironmentProblem(
            f'Expected {module} {requirement.specifier}, but found {version}. '
            f'Install it: {_pip_install(*together_with, module)}'
        )


def _check_compiled_ops() -> None:
    rebuild = (
        'Build them for the installed torch: MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir '
        f"--force-reinstall '{_requirement('mmcv')}' (takes minutes, needs g++), or run `make install` in the checkout."
    )
    if not _has_compiled_ops():
        raise EnvironmentProblem(f'mmcv is installed without its compiled ops, which detection needs. {rebuild}')
    try:
        import_module('mmcv._ext')
    except Exception as e:
        raise EnvironmentProblem(f"mmcv's ops were compiled for another torch ({_one_line(e)}). {rebuild}") from e


def _has_compiled_ops() -> bool:
    """Whether mmcv has its extension module; does not import mmcv."""
    spec = find_spec('mmcv')
    return spec is not None and PathFinder.find_spec('mmcv._ext', spec.submodule_search_locations) is not None


def _requirement(module: str) -> Requirement:
    """Return the requirement in setup.cfg for the distribution that provides ``module``."""
    name = DISTRIBUTIONS.get(module, module)
    return next(requirement for requirement in _requirements() if requirement.name == name)


@cache
def _requirements() -> list[Requirement]:
    """Return all requirements of ltmm, from its metadata, or from setup.cfg if it is not installed."""
    try:
        lines: Iterable[str] = metadata.requires('ltmm')
    except metadata.PackageNotFoundError:
        config = ConfigParser()
        config.read(Path(__file__).parents[2] / 'setup.cfg')
        sections = [config['options']['install_requires'], *config['options.extras_require'].values()]
        lines = [line for section in sections for line in section.split('\n') if line]
    return [Requirement(line) for line in lines]


def _pip_install(*modules: str) -> str:
    """Return the command that installs compatible versions, under the names of distributions already installed."""
    installed = metadata.packages_distributions()
    wanted = []
    for module in modules:
        requirement = _requirement(module)
        wanted.append(f"'{installed.get(module, [requirement.name])[0]}{requirement.specifier}'")
    return f'{Path(sys.executable).name} -m pip install --upgrade {" ".join(wanted)}'


def _one_line(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'
