"""Read checkpoints, .pkl and .yaml files as data: code in a file is not run, unless the user trusts it."""

import os
import pickle
import re
import reprlib
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any
from urllib.parse import urlparse

import numpy as np
import torch
import yaml
from mmengine.fileio import PickleHandler, YamlHandler, register_handler
from torch import nn

from .errors import InputError
from .pickled_types import PickledArray, allowed_types

__all__ = ['check_checkpoint', 'forbid_code', 'load_whole', 'read_checkpoint', 'read_pickle', 'use_safe_loader']

MAX_DEPTH, MAX_VALUES = 100, 10**6  # of nested containers; of all values
FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'  # torch.load obeys it, whatever its arguments
_trusted = False


def read_checkpoint(file: str | Path | BytesIO, map_location: Any = 'cpu') -> dict:
    """Read tensors and plain values; older checkpoints may hold numpy numbers, numeric arrays and MMEngine's log.

    Args:
        file: Path, or content.
        map_location: See :func:`torch.load`.

    Raises:
        InputError: The file is damaged, no checkpoint, or has to run code.
    """
    if isinstance(file, BytesIO):
        name, size = 'The checkpoint', file.getbuffer().nbytes
    else:
        name, file = str(file), Path(file).expanduser()
        if not file.is_file():
            raise FileNotFoundError(f'There is no checkpoint {name}.')
        check_checkpoint(file)
        size = file.stat().st_size
    with _one_line(name):
        content = _load(file, name, map_location)
        _check_content(content, name, size)
    message_hub = content.get('message_hub') or {}
    for holder in (content.get('meta') or {}, message_hub.get('runtime_info') or {}):
        for key in ('cfg', 'config'):
            holder.pop(key, None)  # MMEngine executes them on resume and in its inferencers
    return content


def read_pickle(file: IO[bytes], **kwargs: Any) -> Any:
    """Read a pickle of numbers, text, lists, tuples, dictionaries and None.

    Args:
        file: An open file.
        **kwargs: See :class:`pickle.Unpickler`.

    Raises:
        InputError: The file is damaged, or has to run code.
    """
    name = getattr(file, 'name', 'The .pkl file')
    with _one_line(name):
        try:
            return _PlainUnpickler(file, **kwargs).load()
        except UnpicklingError as e:
            if not (found := re.fullmatch(r'GLOBAL (\S+)', str(e))):
                raise
        _require_trust(name, f'has to run code, {found[1]}')
        file.seek(0)
        return pickle.load(file, **kwargs)


def use_safe_loader() -> None:
    """Let MMEngine, and so mmdet and mmpretrain, read checkpoints by :func:`read_checkpoint` in this process.

    MMEngine's loader falls back to running the code of a file, and does not check files that it downloads.
    """
    from mmengine.runner import checkpoint  # slow to import, and not needed to build a model

    checkpoint.CheckpointLoader.register_scheme('', load_from_local, force=True)
    checkpoint._safe_torch_load = read_checkpoint
    checkpoint.load_url = _read_url


def forbid_code(trust: bool = False) -> None:
    """Forbid code in checkpoints, .pkl and .yaml files in the whole process, whichever package reads them.

    Args:
        trust: Run it all the same, and say so for each file.
    """
    global _trusted
    _trusted = trust
    use_safe_loader()
    register_handler(['pkl', 'pickle'])(_PickleHandler)
    register_handler(['yaml', 'yml'])(_YamlHandler)
    if trust:
        os.environ.pop(FORCE, None)
    else:
        os.environ[FORCE] = '1'


def load_whole(model: nn.Module, path: str) -> dict:
    """Load a checkpoint that has all parameters of a model, for use without a runner.

    Args:
        model: The model.
        path: Path or URL.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: A parameter is missing or of another shape.
    """
    from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint_to_model

    use_safe_loader()
    checkpoint = CheckpointLoader.load_checkpoint(path, 'cpu')
    loaded = {name.removeprefix('module.'): value for name, value in checkpoint.get('state_dict', checkpoint).items()}
    for name, parameter in model.named_parameters():
        got = tuple(loaded[name].shape) if name in loaded else 'missing'
        if got != tuple(parameter.shape):
            raise InputError(
                f'Expected {path} to fit the model, with {name} of shape {tuple(parameter.shape)}, but it is {got}.'
            )
    _load_checkpoint_to_model(model, checkpoint)
    return checkpoint


def check_checkpoint(path: str | Path) -> None:
    """Raise an InputError if a file is truncated, damaged or no checkpoint; compares the checksums that are in it.

    Args:
        path: Path. A URL is not checked, nor is a file that does not exist.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        return
    try:
        damage = _damage(path)
    except Exception as e:  # of zipfile, for lying headers: of many types
        damage = f'is truncated or damaged ({_first_line(e)})'
    if damage:
        raise InputError(f'{path} {damage}, {path.stat().st_size:,} bytes. Copy, download or train it again.')


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Read a local file; the scheme of MMEngine's ``CheckpointLoader`` for paths."""
    return read_checkpoint(filename, map_location)


# ---------------------------------------------------------------------- reading


def _load(file: Path | BytesIO, name: str, map_location: Any) -> Any:
    """Unpickle data; run code only if it is trusted."""
    try:
        with allowed_types(), warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Detected pickle protocol')
            return torch.load(file, map_location=map_location, weights_only=True)
    except UnpicklingError as e:
        found, reason = re.search(r'GLOBAL (\S+)', str(e)), re.search(r'WeightsUnpickler error:\s*(.*)', str(e))
        needs = f'has to run code, {found[1]}' if found else f'is no file of weights ({reason[1] if reason else e})'
        _require_trust(name, needs)
        if isinstance(file, BytesIO):
            file.seek(0)
        return torch.load(file, map_location=map_location, weights_only=False)


def _read_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> dict:
    """Read a checkpoint after its download, as ``torch.hub.load_state_dict_from_url`` does."""
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    path = folder / (file_name or Path(urlparse(url).path).name)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=progress)
        except OSError as e:  # URLError too
            raise InputError(
                f'Cannot download {url} ({e}). Fetch it on another machine and save it as {path}, or put the path of '
                'the file in place of the URL in the config (configs/own_data: pretrained=FILE).'
            ) from e
    return read_checkpoint(path, map_location)


def _damage(path: Path) -> str | None:
    with path.open('rb') as file:
        start = file.read(4)
    if start == b'PK\x03\x04':
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                return 'is compressed, which checkpoints are not'
            wrong = archive.testzip()
        return wrong and f'is damaged: the checksum of {wrong} differs'
    if start[:1] != b'\x80' or tarfile.is_tarfile(path):  # neither zip nor pickle, the format before torch 1.6
        return 'is truncated or not a checkpoint'
    return None


def _check_content(content: Any, name: str, size: int) -> None:
    """Raise an InputError for what MMEngine could not handle: other types, too much of it, tensors that do not end."""
    if not isinstance(content, dict):
        raise InputError(f'Expected {name} to hold a dictionary, but got {type(content).__name__}.')
    parts = {key: content.get(key) or {} for key in ('state_dict', 'meta', 'message_hub')}
    if isinstance(parts['message_hub'], dict):
        parts |= {key: parts['message_hub'].get(key, {}) for key in ('runtime_info', 'log_scalars')}
    if isinstance(parts['meta'], dict):
        parts |= {key: parts['meta'].get(key) or {} for key in ('dataset_meta', 'class_distribution')}
    for key, part in parts.items():
        if not isinstance(part, dict):
            raise InputError(f'Expected {key!r} in {name} to be a dictionary, but got {type(part).__name__}.')
    classes = parts['dataset_meta'].get('classes')
    if not (classes is None or all(isinstance(item, (str, int)) for item in classes)):
        raise InputError(f'Expected the class names in {name} to be text, but got {reprlib.repr(classes)}.')
    state = content.get('state_dict', content)
    if not all(isinstance(key, str) for key in state):
        raise InputError(f'Expected the parameters in {name} to have names, but got {list(state)[:3]}.')
    weights = [value for key, value in content.get('state_dict', {}).items() if not key.endswith('_extra_state')]
    weights += parts['class_distribution'].values()
    if not all(isinstance(value, torch.Tensor) for value in weights):
        raise InputError(f'Expected tensors in the state_dict and class_distribution of {name}.')
    values, num_values = [(content, 0)], 0
    while values:
        value, depth = values.pop()
        num_values += 1
        if depth > MAX_DEPTH or num_values > MAX_VALUES:
            raise InputError(f'{name} is nested too deeply for a checkpoint.')
        if isinstance(value, dict):
            value.update({key: item.view(np.ndarray) for key, item in value.items() if isinstance(item, PickledArray)})
            values += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, (list, tuple, set)):
            values += [(item, depth + 1) for item in value]
        elif isinstance(value, torch.Tensor) and value.numel() * value.element_size() > size:
            raise InputError(f'{name} has {size:,} bytes, but claims a tensor of shape {tuple(value.shape)}.')


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as e:  # a broken pickle raises any
        raise InputError(f'{name} cannot be read ({type(e).__name__}: {_first_line(e)}).') from e


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _require_trust(name: str, needs: str) -> None:
    needs = ascii(needs)[1:-1]  # no control characters from the file
    if not _trusted:
        raise InputError(
            f'{name} {needs}. Nothing was run. --trust runs it, which lets the author of the file do on this '
            'machine all that you can.'
        ) from None
    print(f'WARNING: --trust: {name} {needs}. RUNNING IT.', file=sys.stderr, flush=True)


class _PlainUnpickler(pickle.Unpickler):
    """Calls no function, and so creates no object of a class, of numpy for example."""

    def find_class(self, module: str, name: str) -> Any:
        raise UnpicklingError(f'GLOBAL {module}.{name}')


class _PickleHandler(PickleHandler):
    """Handler of .pkl files that reads plain values; MMEngine's own runs their code."""

    def load_from_fileobj(self, file: IO[bytes], **kwargs: Any) -> Any:
        return read_pickle(file, **kwargs)


class _YamlHandler(YamlHandler):
    """MMEngine's handler of .yaml files, whose loader creates any Python object, for plain values."""

    def load_from_fileobj(self, file: IO, **kwargs: Any) -> Any:
        name = getattr(file, 'name', 'The .yaml file')
        try:
            return super().load_from_fileobj(file, **({} if _trusted else dict(Loader=yaml.SafeLoader)) | kwargs)
        except yaml.YAMLError as e:
            reason = ' '.join(str(e).split())[:200]
            raise InputError(f'{name} is not YAML of plain values ({reason}). Nothing was run.') from None
