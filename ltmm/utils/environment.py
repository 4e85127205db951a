"""What is installed, and whether it fits together.

Nothing here imports torch or a framework at module level: a broken installation has to be able to say what is broken.
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
    """A package is missing or does not fit; the message has the remedy."""


def check_environment(detection: bool) -> None:
    """Refuse an installation that cannot work, before anything is built.

    Args:
        detection: check what detection needs beside classification's packages.

    Raises:
        EnvironmentProblem: a package is missing, broken, or out of the range of setup.cfg; one line with the remedy.
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
    """Refuse to go on without these packages; a look for their files, no import.

    Raises:
        EnvironmentProblem: names the first that is missing, and how to install it.
    """
    for module in modules:
        if find_spec(module) is None:
            raise EnvironmentProblem(f'{module} is not installed. Install it: {_pip_install(module)}')


@cache
def mmdet_is_usable() -> bool:
    """Whether mmdet can be imported, with mmcv's compiled ops that it needs.

    It is tried, which costs nothing beside mmpretrain: where mmdet is installed, mmpretrain imports it too.
    """
    if find_spec('mmdet') is None or not _has_compiled_ops():
        return False
    try:
        import_module('mmdet.models')
    except Exception:  # whatever a broken library raises; check_environment() says what it was
        return False
    return True


def _check(module: str, imports: str | None = None, together_with: tuple[str, ...] = ()) -> None:
    """Raise unless ``module`` is there, in range, and ``imports`` (the module itself when left out) can be imported.

    Args:
        module: name to import.
        imports: a submodule that pulls in all of a framework.
        together_with: other modules that have to be installed in one command with this one.
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
            f'Install what fits: {_pip_install(*together_with, module)}'
        ) from e
    if not in_range:
        raise EnvironmentProblem(
            f'Expected {module} {requirement.specifier}, but found {version}. '
            f'Install what fits: {_pip_install(*together_with, module)}'
        )


def _check_compiled_ops() -> None:
    rebuild = (
        'Build them with torch in place: MMCV_WITH_OPS=1 pip install --no-build-isolation --no-deps --no-cache-dir '
        f"--force-reinstall '{_requirement('mmcv')}' (minutes; needs g++), or run `make install` in a checkout of ltmm."
    )
    if not _has_compiled_ops():
        raise EnvironmentProblem(f'mmcv is installed without its compiled ops, which detection needs. {rebuild}')
    try:
        import_module('mmcv._ext')
    except Exception as e:
        raise EnvironmentProblem(
            f"mmcv's compiled ops do not fit the installed torch ({_one_line(e)}). {rebuild}"
        ) from e


def _has_compiled_ops() -> bool:
    """Whether mmcv has its extension module, found without importing mmcv."""
    spec = find_spec('mmcv')
    return spec is not None and PathFinder.find_spec('mmcv._ext', spec.submodule_search_locations) is not None


def _requirement(module: str) -> Requirement:
    """What setup.cfg asks of the distribution that brings ``module``."""
    name = DISTRIBUTIONS.get(module, module)
    return next(requirement for requirement in _requirements() if requirement.name == name)


@cache
def _requirements() -> list[Requirement]:
    """All requirements of ltmm: from its metadata where it is installed, from setup.cfg in a mere checkout."""
    try:
        lines: Iterable[str] = metadata.requires('ltmm')
    except metadata.PackageNotFoundError:
        config = ConfigParser()
        config.read(Path(__file__).parents[2] / 'setup.cfg')
        sections = [config['options']['install_requires'], *config['options.extras_require'].values()]
        lines = [line for section in sections for line in section.split('\n') if line]
    return [Requirement(line) for line in lines]


def _pip_install(*modules: str) -> str:
    """The command that installs what fits, under the names of the distributions that are there already, if any."""
    installed = metadata.packages_distributions()
    wanted = []
    for module in modules:
        requirement = _requirement(module)
        wanted.append(f"'{installed.get(module, [requirement.name])[0]}{requirement.specifier}'")
    return f'{Path(sys.executable).name} -m pip install --upgrade {" ".join(wanted)}'


def _one_line(error: Exception) -> str:
    """Type and first line of an error."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'
