"""Check that the installed packages are present and compatible, and provide what they lack.

This module imports neither torch nor OpenMMLab nor packaging at the top, so that it can report a broken installation.
"""

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module, metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = [
    'EnvironmentProblem',
    'check_environment',
    'check_extra',
    'check_installed',
    'check_usable',
    'has_compiled_ops',
    'mmdet_is_usable',
    'needs_frameworks',
    'provide_cache_folder',
    'provide_mmcv_ops',
    'provide_mmpretrain_beside_transformers',
]

DISTRIBUTIONS = dict(
    mmengine='onedl-mmengine', mmcv='onedl-mmcv', mmpretrain='onedl-mmpretrain', mmdet='onedl-mmdetection'
)
FRAMEWORK_EXTRAS = dict(mmcv='cls', mmpretrain='cls', mmdet='det', torchvision='cls')


class EnvironmentProblem(RuntimeError):
    """A package is missing or incompatible; the message says what to install."""


def check_environment(detection: bool) -> None:
    """Raise an EnvironmentProblem if a package is missing, broken or outside the range in setup.cfg.

    Args:
        detection: Also check the packages that only detection needs.
    """
    check_usable('torch')
    check_usable('torchvision', together_with=('torch',))
    check_usable('mmengine')
    check_usable('mmcv')
    check_usable('mmpretrain', imports='mmpretrain.models')
    if detection:
        _check_compiled_ops()
        check_usable('mmdet', imports='mmdet.models')
        check_usable('pycocotools')
        check_usable('lvis')


def check_installed(*modules: str) -> None:
    """Raise an EnvironmentProblem if a package is missing; does not import them."""
    for module in modules:
        if find_spec(module) is None:
            raise EnvironmentProblem(f'{module} is not installed. Install it: {_pip_install(module)}')


def check_extra(extra: str, *modules: str) -> None:
    """Raise an EnvironmentProblem if a package of an extra is missing; does not import it.

    Args:
        extra: Name of the extra in setup.cfg.
        modules: Packages of the extra that are needed, as imported.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        python = Path(sys.executable).name
        raise EnvironmentProblem(
            f'{" and ".join(missing)} {"is" if len(missing) == 1 else "are"} not installed. '
            f'Install the extra {extra}: {python} -m pip install "ltmm[{extra}]"'
        )


@contextmanager
def needs_frameworks() -> Iterator[None]:
    """Turn a missing mmcv, mmpretrain or mmdet into an EnvironmentProblem that names the extra."""
    try:
        yield
    except ModuleNotFoundError as e:
        if e.name in FRAMEWORK_EXTRAS:
            check_extra(FRAMEWORK_EXTRAS[e.name], e.name)
        raise


def provide_cache_folder() -> None:
    """Give numba (a dependency of mmdet), Matplotlib and torch a private folder where the home is not writable.

    Without one, numba refuses to be imported, and Matplotlib warns and reads all fonts in each process.
    """
    home = os.path.expanduser('~')  # '~' itself for a user without a home
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path(home, '.cache'))
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if folder.is_absolute() and os.access(existing, os.W_OK | os.X_OK):
        return
    folder = Path(tempfile.gettempdir(), f'ltmm-cache-{os.getuid()}')
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:  # numba executes what its cache holds
        folder = Path(tempfile.mkdtemp(prefix='ltmm-cache-'))
    os.environ['XDG_CACHE_HOME'] = str(folder)
    os.environ.setdefault('MPLCONFIGDIR', str(folder))


class _OpsFinder:
    """Finds :mod:`ltmm.utils.mmcv_ops` for ``mmcv._ext``."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == 'mmcv._ext':
            return spec_from_file_location(name, Path(__file__).with_name('mmcv_ops.py'))


def provide_mmcv_ops() -> None:
    """Let ``mmcv.ops`` use torchvision's kernels where mmcv is installed without compiled ops.

    The finder is the last one that Python asks, so it never hides the compiled extension. mmdet imported before has no
    NMS: hence a warning.
    """
    if _OpsFinder in sys.meta_path:
        return
    sys.meta_path.append(_OpsFinder)
    if 'mmdet.models.dense_heads' in sys.modules and 'mmcv.ops' not in sys.modules:
        warnings.warn(
            'mmdet was imported before ltmm and found no operations of mmcv: detectors will fail. Import ltmm first.',
            stacklevel=2,
        )


class _MultimodalFinder:
    """Finds ``mmpretrain.utils.dependency`` and turns mmpretrain's multi-modal models off, see below."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != 'mmpretrain.utils.dependency':
            return None
        spec = PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _turn_multimodal_off(module)

        spec.loader.exec_module = exec_module
        return spec


def provide_mmpretrain_beside_transformers() -> None:
    """Let mmpretrain be imported where transformers >= 5 is installed.

    Its multi-modal models (BLIP, LLaVA) are written for transformers 4 and break the import of ``mmpretrain.models``
    beside transformers 5. They become the placeholders that stand there without transformers.
    """
    if _MultimodalFinder not in sys.meta_path:
        sys.meta_path.insert(0, _MultimodalFinder)
    if (
        'mmpretrain.utils.dependency' in sys.modules
    ):  # `from mmpretrain import ImageClassificationInferencer` has read it
        _turn_multimodal_off(sys.modules['mmpretrain.utils.dependency'])


def _turn_multimodal_off(module: ModuleType) -> None:
    with suppress(metadata.PackageNotFoundError):
        if int(metadata.version('transformers').partition('.')[0]) >= 5:
            module.WITH_MULTIMODAL = False


def has_compiled_ops() -> bool:
    """Whether mmcv has its own extension module; does not import mmcv."""
    spec = find_spec('mmcv')
    return spec is not None and PathFinder.find_spec('mmcv._ext', spec.submodule_search_locations) is not None


@cache
def mmdet_is_usable() -> bool:
    """Whether mmdet can be imported.

    Importing mmdet costs nothing extra: mmpretrain imports it where it is installed.
    """
    if find_spec('mmdet') is None:
        return False
    try:
        import_module('mmdet.models')
    except Exception:  # a broken library raises anything; check_environment() reports it
        return False
    return True


def check_usable(module: str, imports: str | None = None, together_with: tuple[str, ...] = ()) -> None:
    """Raise unless ``module`` is installed, in range, and it and its submodule ``imports`` can be imported.

    Args:
        module: Name of the package as imported.
        imports: Submodule that imports all of a framework.
        together_with: Packages that have to be installed in the same command.
    """
    check_installed(module)
    from packaging.specifiers import SpecifierSet

    name, versions = _requirement(module)
    try:
        version = getattr(import_module(module), '__version__', None) or metadata.version(name)
        in_range = SpecifierSet(versions).contains(version, prereleases=True)
        if in_range and imports:
            import_module(imports)
    except Exception as e:
        raise EnvironmentProblem(
            f'{module} is installed but cannot be imported ({_one_line(e)}). '
            f'Reinstall it: {_pip_install(*together_with, module)}'
        ) from e
    if not in_range:
        raise EnvironmentProblem(
            f'Expected {module} {versions}, but found {version}. Install it: {_pip_install(*together_with, module)}'
        )


def _check_compiled_ops() -> None:
    if not has_compiled_ops():
        return
    try:
        import_module('mmcv._ext')
    except Exception as e:
        name, versions = _requirement('mmcv')
        raise EnvironmentProblem(
            f"mmcv's ops were compiled for another torch ({_one_line(e)}). Install mmcv without them: "
            f"pip install --no-cache-dir --force-reinstall --no-deps '{name}{versions}'"
        ) from e


def _requirement(module: str) -> tuple[str, str]:
    """Return the distribution of ``module`` and its range in setup.cfg; no range if the metadata are too old."""
    name = DISTRIBUTIONS.get(module, module)
    return name, _requirements().get(name, '')


@cache
def _requirements() -> dict[str, str]:
    """Map all requirements of ltmm to their versions, from its metadata, or from setup.cfg if it is not installed."""
    try:
        lines: Iterable[str] = metadata.requires('ltmm')
    except metadata.PackageNotFoundError:
        config = ConfigParser()
        config.read(Path(__file__).parents[2] / 'setup.cfg')
        sections = [config['options']['install_requires'], *config['options.extras_require'].values()]
        lines = [line for section in sections for line in section.split('\n') if line]
    return dict(re.match(r'([\w.-]+)(?:\[.*?\])? *([^; ]*)', line).groups() for line in lines)


def _pip_install(*modules: str) -> str:
    """Return the command that installs compatible versions, under the names of distributions already installed."""
    installed = metadata.packages_distributions()
    wanted = []
    for module in modules:
        name, versions = _requirement(module)
        wanted.append(f"'{installed.get(module, [name])[0]}{versions}'")
    return f'{Path(sys.executable).name} -m pip install --upgrade {" ".join(wanted)}'


def _one_line(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'
