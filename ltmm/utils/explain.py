"""Explain an exception in one line, where the config, the command or the installation is to blame."""

import inspect
import os
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import Registry, build_from_cfg, root
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from .data_files import why_unreadable
from .environment import EnvironmentProblem
from .errors import InputError, did_you_mean

__all__ = ['explain']

EXPECTED = (InputError, EnvironmentProblem, OSError, FloatingPointError)  # FloatingPointError: the loss is not finite
CONFIG_READERS = (Config._file2dict.__code__, Config._is_lazy_import.__code__)
BUILDERS = {
    function.__code__
    for name, function in inspect.getmembers(Runner, inspect.isfunction)
    if name in ('__init__', 'scale_lr', 'setup_env') or name.startswith('build_')
} | {Runner.from_cfg.__func__.__code__}
TRACEBACK_HINT = 'LTMM_TRACEBACK=1 shows the traceback.'


def explain(error: Exception) -> str | None:
    """Return the line, ``'InputError: ...'``; None for an error that looks like a bug."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    if original := _of_worker(error):
        return original
    if text := why_unreadable(error):
        return f'DataFileError: {text}'
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f'{_one_line(error)} Lower train_dataloader.batch_size.'
    if isinstance(error, MemoryError):
        return _one_line(error)
    if not isinstance(error, (InputError, EnvironmentProblem)) and (text := _of_config(error, frames)):
        return text
    if isinstance(error, EXPECTED):
        return f'{type(error).__name__}: {_with_owner(error, frames)}'
    if isinstance(error, ImportError):
        return _one_line(error)
    builds = [Build.of(frame) for frame, _ in frames if frame.f_code is build_from_cfg.__code__]
    if text := _of_type(error, frames) or _of_argument(error, builds) or _of_value(builds) or _of_width(error, frames):
        return f'InputError: {text}'
    owners = _metrics_and_transforms(frames) or [build.name for build in builds if build.cls]
    if not owners:
        owners = [f.f_code.co_name.replace('__init__', 'Runner') for f, _ in frames if f.f_code in BUILDERS]
    if not owners:
        owners = ['load_checkpoint' for f, _ in frames if f.f_globals.get('__name__') == 'mmengine.runner.checkpoint']
    return f'{owners[-1]}: {_one_line(error)} {TRACEBACK_HINT}' if owners else None


@dataclass
class Build:
    """A call that built a part of the config.

    Args:
        cfg: Config of the part.
        cls: Its class; None if the error came before.
        args: Its arguments.
    """

    cfg: Any
    cls: Any = None
    args: dict = field(default_factory=dict)

    @classmethod
    def of(cls, frame: FrameType) -> 'Build':
        return cls(frame.f_locals['cfg'], frame.f_locals.get('obj_cls'), frame.f_locals.get('args') or {})

    @property
    def name(self) -> str:
        return getattr(self.cls, '__name__', str(self.cls))


def _one_line(error: BaseException) -> str:
    """Type and message on one line that is not too long."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    text = ' '.join(text.split())
    text = text if len(text) <= 400 else f'{text[:400]} ...'
    return f'{type(error).__name__}: {text}' + ('' if text.endswith(('.', '?', '!')) else '.')


def _metrics_and_transforms(frames: list) -> list[str]:
    """Names of those that raised the error, outer ones first: the config has chosen them for other data or outputs."""
    from mmcv.transforms import BaseTransform  # may be missing
    from mmengine.evaluator import BaseMetric

    owners = [frame.f_locals.get('self') for frame, _ in frames]
    return [type(owner).__name__ for owner in owners if isinstance(owner, (BaseMetric, BaseTransform))]


def _with_owner(error: Exception, frames: list) -> str:
    """Prefix the message with the ltmm class that raised the error, as in ``'SeesawLoss: Expected ...'``."""
    owners = [type(f.f_locals['self']) for f, _ in frames if 'self' in f.f_locals]
    names = [''] + [cls.__name__ for cls in owners if cls.__module__.startswith('ltmm.')]
    return str(error) if names[-1] in str(error) else f'{names[-1]}: {error}'


def _of_worker(error: Exception) -> str | None:
    """Return the last line of the traceback that PyTorch writes into an error of a data worker."""
    if not re.match(r'Caught \w+ in DataLoader worker', str(error)):
        return None
    last = str(error).strip().splitlines()[-1]
    return f'{re.sub(r"^([a-z_]+[.])+", "", last)} (in a data worker; num_workers=0 shows more)'


def _of_config(error: Exception, frames: list) -> str | None:
    """Name the file and line of an error in a config; None if none was being read."""
    path = line = child = None
    for frame, number in frames:
        if frame.f_code in CONFIG_READERS:
            new = os.path.normpath(frame.f_locals['filename'])
            child, path, line = path if new != path else child, new, None
        elif frame.f_code is Config.merge_from_dict.__code__:
            return f'InputError: --cfg-options: {_one_line(error)}'
        elif path is not None and os.path.normpath(frame.f_code.co_filename) == path:
            line = number
    if any(frame.f_code is Config.fromfile.__code__ for frame, _ in frames) and path is None:
        if isinstance(error, ImportError) and error.__cause__:  # MMEngine's, which lists sys.path
            return f'InputError: custom_imports: {_one_line(error.__cause__.__context__)} Is its folder in PYTHONPATH?'
        return (
            f'InputError: custom_imports: {frames[-1][0].f_code.co_filename}, line {frames[-1][1]}: {_one_line(error)}'
        )
    if path is None:
        return None
    if isinstance(error, FileNotFoundError) and child:
        return f'FileNotFoundError: {child}: there is no base {path}.'
    line = error.lineno if isinstance(error, SyntaxError) else line
    where = path if line is None else f'{path}, line {line}'
    text = _one_line(error).replace('<unknown>', Path(path).name)
    return f'InputError: {where}: {text}'


def _registries() -> Iterator[Registry]:
    """All registries, those of ltmm first and with their modules imported."""
    parents = [value for value in vars(root).values() if isinstance(value, Registry)]
    registries = [registry for parent in parents for registry in (parent, *parent.children.values())]
    for registry in sorted(registries, key=lambda registry: registry.scope != 'ltmm'):
        if registry.scope == 'ltmm':
            registry.import_from_location()
        yield registry


def _of_type(error: Exception, frames: list) -> str | None:
    """Explain an unknown type, with similar names and the same name in other scopes."""
    match = re.match(r'(\S+) is not in the \S*::(.+?) registry', str(error.args[0]) if error.args else '')
    if isinstance(error, KeyError) and match:
        name, kind = match.groups()
    elif isinstance(error, TypeError) and str(error).startswith('None is not a callable'):  # MMEngine's, of optimizers
        (name,) = [f.f_locals['self'].optimizer_cfg['type'] for f, _ in frames if 'optimizer_cls' in f.f_locals]
        kind = 'optimizer'
    else:
        return None
    full_names: dict[str, str] = {}  # a name that several scopes have is that of the first
    for registry in _registries():
        if registry.name == kind:
            scope = '' if registry.scope == 'mmengine' else f'{registry.scope}.'
            full_names |= {key: scope + key for key in registry.module_dict if key not in full_names}
    hint = did_you_mean(name.rpartition('.')[2], full_names)
    for key in sorted(full_names, key=len, reverse=True):
        hint = re.sub(rf'(?<![\w.]){key}(?!\w)', full_names[key], hint)
    return f'There is no {kind} called {name!r}.{hint}'


def _of_argument(error: Exception, builds: list[Build]) -> str | None:
    """Explain an unknown argument of the class that the config names, with the similar ones of this class."""
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or not match:
        return None
    owner, name = match.groups()
    cls = next((build.cls for build in reversed(builds) if name in build.args and inspect.isclass(build.cls)), None)
    if cls is None:  # MMEngine builds these itself
        classes = [DataLoader, *(registry.module_dict.get(owner) for registry in _registries())]
        cls = next((cls for cls in classes if inspect.isclass(cls) and cls.__name__ == owner), None)
    if cls is None:
        return None
    hint = did_you_mean(name, _arguments(cls)) or (
        ' If a base config sets it, write _delete_=True into the dict that names the type.'
    )
    return f'{cls.__name__} has no argument {name!r}.{hint}'


def _arguments(cls: type) -> list[str]:
    """Arguments of a class, and of its bases as far as the keyword arguments are passed on."""
    names = []
    for base in inspect.getmro(cls):
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return [name for name in dict.fromkeys(names) if name != 'self']


def _of_value(builds: list[Build]) -> str | None:
    """Explain a value of the config that ought to be a dict."""
    if not builds or builds[-1].cls or (isinstance(builds[-1].cfg, (dict, Config)) and 'type' in builds[-1].cfg):
        return None
    return f'expected dict(type=...), but got {_short(builds[-1].cfg)}.{_asked_by(builds)}'


def _of_width(error: Exception, frames: list) -> str | None:
    """Explain features of another width than a linear layer of a head takes."""
    match = re.match(r'mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x\d+\)', str(error))
    names = [type(frame.f_locals.get('self')).__name__ for frame, _ in frames]
    heads = [name for name in names if name.endswith('Head')]
    if not match or not heads:
        return None
    num, got, expected = match.groups()
    hint = 'A backbone that pools already needs no pooling neck.' if got == '1' else 'Set in_channels, or the neck.'
    return f'{heads[-1]}: expected features (N, {expected}), but got ({num}, {got}). {hint}'


def _asked_by(builds: list[Build]) -> str:
    """Name the argument of the part around the last one that holds its config."""
    for build in reversed(builds[:-1]):
        for name, value in build.args.items():
            if value is builds[-1].cfg or value == builds[-1].cfg:
                return f' It is `{name}` of {build.name}.'
    return ''


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:80]} ...'
