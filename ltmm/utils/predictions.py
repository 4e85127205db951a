"""Predictions in a .npz file, which ``tools/test.py --out predictions.npz`` writes: data only, unlike a .pkl file."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from .atomic_backend import AtomicLocalBackend
from .errors import InputError

__all__ = ['DumpPredictions', 'read_predictions', 'write_predictions']

ANNOTATIONS = ('gt_instances', 'ignored_instances', 'gt_panoptic_seg')  # as mmdet's DumpDetResults, not written
LENGTHS, JSON = '/lengths', '/json'  # ends of names in the file


class DumpPredictions(BaseMetric):
    """Write the predictions of a test to a file, see :func:`write_predictions`.

    Args:
        path: The file, .npz.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(prefix='predictions')  # there are no figures; MMEngine warns of a metric without prefix
        self.path = Path(path)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the predictions of a batch; masks as run-length codes."""
        for sample in data_samples:
            sample = {key: _on_cpu(value) for key, value in sample.items() if key not in ANNOTATIONS}
            masks = sample.get('pred_instances', {}).get('masks')
            if isinstance(masks, Tensor):
                from mmdet.structures.mask import encode_mask_results  # needs mmdet, as the detector does

                sample['pred_instances']['masks'] = encode_mask_results(masks.numpy())
            self.results.append(sample)

    def compute_metrics(self, results: list[dict]) -> dict:
        """Write the file on the first rank; there are no figures."""
        write_predictions(results, self.path)
        return {}


def write_predictions(samples: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write the predictions of N images as arrays.

    Values of a classifier become one array each: ``pred_score`` (N, C), ``gt_label`` (N, 1). Those of the boxes of a
    detector stand one after another, ``pred_instances.scores`` (sum of lengths,), with the number of boxes per image in
    ``pred_instances.scores/lengths`` (N,). The others, such as ``img_path``, are JSON: ``img_path/json``, UTF-8 bytes
    one after another, and their lengths.

    Args:
        samples: Predictions, as metrics get them.
        path: File to write, .npz.
    """
    flat = [_flat(sample) for sample in samples]
    arrays: dict[str, np.ndarray] = {}
    for key in dict.fromkeys(key for sample in flat for key in sample):
        values = [sample.get(key) for sample in flat]
        are_arrays = all(isinstance(value, np.ndarray) for value in values)
        if are_arrays and '.' not in key and len({value.shape for value in values}) == 1:
            arrays[key] = np.stack(values)
            continue
        if not (are_arrays and all(value.ndim for value in values) and len({v.shape[1:] for v in values}) == 1):
            key += JSON
            values = [np.frombuffer(json.dumps(value, default=_plain).encode(), np.uint8) for value in values]
        arrays[key] = np.concatenate(values)
        arrays[key + LENGTHS] = np.array([len(value) for value in values])
    file = io.BytesIO()
    np.savez(file, **arrays)
    AtomicLocalBackend().put(file.getvalue(), path)


def read_predictions(path: str | Path) -> list[dict]:
    """Read the file that :func:`write_predictions` describes; arrays become tensors."""
    if not Path(path).is_file():
        raise FileNotFoundError(f'There is no file of predictions {path}.')
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise InputError('it is compressed')  # a small file could hold more than the memory does
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        columns = {
            name.removesuffix(JSON): _split(name, array, arrays.get(name + LENGTHS))
            for name, array in arrays.items()
            if not name.endswith(LENGTHS)
        }
        samples: list[dict] = [{} for _ in next(iter(columns.values()))]
        for key, values in columns.items():
            *parents, last = key.split('.')
            for sample, value in zip(samples, values, strict=True):
                for parent in parents:
                    sample = sample.setdefault(parent, {})
                sample[last] = value
    except Exception as e:  # a broken or hostile file raises errors of many types
        reason = (str(e).splitlines() or [''])[0][:200] or type(e).__name__
        raise InputError(f'{path} is not a file of `tools/test.py --out predictions.npz` ({reason}).') from None
    return samples


def _flat(sample: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Join the keys of nested dictionaries by dots, and convert tensors and numbers to arrays."""
    flat = {}
    for key, value in sample.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f'{prefix}{key}.')
        elif isinstance(value, Tensor):
            flat[prefix + key] = (value.float() if value.dtype in (torch.float16, torch.bfloat16) else value).numpy()
        else:
            flat[prefix + key] = np.asarray(value) if isinstance(value, (int, float)) else value
    return flat


def _split(name: str, array: np.ndarray, lengths: np.ndarray | None) -> list:
    """Values per image."""
    if lengths is None:
        return array.tolist() if array.ndim == 1 else list(torch.from_numpy(array))
    ends = lengths.cumsum()
    if (lengths < 0).any() or len(array) != lengths.sum():
        raise InputError(f'{name} has {len(array)} values, but {LENGTHS} add up to {lengths.sum()}')
    if name.endswith(JSON):
        return [json.loads(array[end - length : end].tobytes()) for length, end in zip(lengths, ends)]
    return list(torch.from_numpy(array).split(lengths.tolist()))


def _plain(value: Any) -> Any:
    """Convert what JSON does not know."""
    if isinstance(value, bytes):
        return value.decode()  # of a run-length code
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    return value.detach().cpu() if isinstance(value, Tensor) else value
