"""Export a trained model, and compare what was written with the model on real images."""

import itertools
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import Tensor
from torch.export import Dim

from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

from .classifier_graph import ClassifierGraph, batch_of, check_graph, metadata_of
from .image_files import ImageFiles
from .plain_weights import plain_model, write_plain
from .predict import predict_batch
from .trained_model import TrainedModel

__all__ = ['FORMATS', 'check_export', 'example_inputs', 'export_model']

OPSET = 18  # of ONNX; onnxruntime >= 1.14 reads it
SUFFIXES = {'onnx': '.onnx', 'torch.export': '.pt2', 'weights': '.pth'}
FORMATS = tuple(SUFFIXES)


def check_export(
    cfg: Config, format: str, path: Path, with_preprocessing: bool = False, tolerance: float = 1e-4
) -> None:
    """Raise an InputError for what :func:`export_model` cannot do; needs no checkpoint.

    Args:
        cfg: Config of the model.
        format: See :func:`export_model`.
        path: See there.
        with_preprocessing: See there.
        tolerance: See there.
    """
    check(format=(format, FORMATS), tolerance=(tolerance, '> 0'))
    if path.suffix != SUFFIXES[format]:
        raise InputError(f'Expected --out to end in {SUFFIXES[format]} for --format {format}, but got {path}.')
    if format != 'weights':
        check_graph(cfg, format)
    elif with_preprocessing:
        raise InputError('--with-preprocessing is for graphs: the config beside the weights has the preprocessing.')


def export_model(
    trained: TrainedModel,
    format: str,
    path: Path,
    packed: Sequence[dict],
    with_preprocessing: bool = False,
    tolerance: float = 1e-4,
) -> str:
    """Write a model, and return a text about how it compares; nothing is left if it predicts something else.

    Args:
        trained: The model.
        format: ``'onnx'``, ``'torch.export'`` (classifiers) or ``'weights'``.
        path: File to write, with the suffix of the format: .onnx, .pt2, .pth.
        packed: Images to compare on, from :func:`example_inputs`.
        with_preprocessing: Normalize the images inside the graph, see :class:`ClassifierGraph`.
        tolerance: Largest difference of a score.
    """
    check_export(trained.cfg, format, path, with_preprocessing, tolerance)
    if format == 'weights':
        return _export_weights(trained, path, packed, tolerance)
    graph = ClassifierGraph(trained, with_preprocessing)
    images = batch_of(trained, packed, with_preprocessing)
    metadata = metadata_of(trained, images, with_preprocessing)
    expected = torch.stack([sample.pred_score for sample in predict_batch(trained, packed)]).cpu().numpy()
    write_file = _write_onnx if format == 'onnx' else _write_program
    with _temporary(path) as file:
        run = write_file(graph, images, metadata, file)
        scores = run(images)
        one_by_one = np.concatenate([run(images[i : i + 1]) for i in range(len(images))])
        difference = np.abs(np.stack([scores, one_by_one]) - expected).max()  # NaN if any is
        same = int((scores.argmax(1) == expected.argmax(1)).sum())
        if not difference <= tolerance:
            raise InputError(
                f'The exported scores differ by {difference:.2g} from those of the model on {len(packed)} images '
                f'(tolerance {tolerance:g}). Nothing was written.'
            )
        os.replace(file, path)
    size = ' x '.join(map(str, images.shape[1:]))
    return (
        f'{path}: input N x {size}, {images.dtype}; compared on {len(packed)} images, in one batch and one by one: '
        f'scores differ by at most {difference:.1e}, the first class is the same for {same} of {len(packed)}.'
    )


def example_inputs(
    trained: TrainedModel, paths: Sequence[Path], size: tuple[int, int] | None = None, num_images: int = 16
) -> list[dict]:
    """Return packed images to trace a model and to compare on: of files, or the first of the test set.

    Args:
        trained: The model.
        paths: The files; none for the test set of the config.
        size: See :class:`ImageFiles`; for files only.
        num_images: How many.
    """
    if size is not None and not paths:
        raise InputError('--size is for --images: the images of the test set have their size.')
    if paths:
        items = (inputs for _, inputs, _ in itertools.islice(_items(ImageFiles(paths, trained.cfg, size)), num_images))
        packed = list(items)
        if broken := [item for item in packed if isinstance(item, str)]:
            raise InputError(broken[0])
    else:
        try:
            dataset = DATASETS.build(trained.cfg.test_dataloader.dataset)
        except FileNotFoundError as e:
            raise InputError(f'{e} Or compare on images of your own: --images photos/.') from None
        packed = [dataset[i] for i in np.linspace(0, len(dataset) - 1, min(num_images, len(dataset))).astype(int)]
    return packed if len(packed) > 1 else packed * 2  # torch.export would fix a batch of 1


def _items(data: ImageFiles) -> Iterator[tuple]:
    return (data[i] for i in range(len(data)))


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Give a path in the same folder, removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{path.stem}.', dir=path.parent) as folder:
        yield Path(folder, path.name)


def _write_onnx(graph: ClassifierGraph, images: Tensor, metadata: dict[str, str], file: Path) -> Callable:
    check_extra('export', 'onnx', 'onnxscript', 'onnxruntime')
    import onnxruntime

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            program = torch.onnx.export(
                graph.eval(),
                (images,),
                dynamo=True,
                opset_version=OPSET,
                input_names=['images'],
                output_names=['scores', 'logits'],
                dynamic_shapes={'images': {0: Dim('N', min=1)}},
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as e:
        found = re.search(r'No ONNX function found for <OpOverload\(op=\'([\w.]+)', str(e))
        reason = f'ONNX has no {found[1]}' if found else str(e).splitlines()[0]
        raise InputError(
            f'The model cannot be written as ONNX ({reason}). --format torch.export has all operations of torch.'
        ) from None
    program.model.metadata_props.update(metadata)
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    return lambda batch: session.run(['scores'], {'images': batch.cpu().numpy()})[0]


def _write_program(graph: ClassifierGraph, images: Tensor, metadata: dict[str, str], file: Path) -> Callable:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        program = torch.export.export(graph.eval(), (images,), dynamic_shapes={'images': {0: Dim('N', min=1)}})
        extra: dict[str, Any] = {f'{key}.txt': value for key, value in metadata.items()}
        torch.export.save(program, str(file), extra_files=extra)
    module = torch.export.load(str(file)).module()
    return lambda batch: module(batch)[0].detach().cpu().numpy()


def _export_weights(trained: TrainedModel, path: Path, packed: Sequence[dict], tolerance: float) -> str:
    cfg, model = plain_model(trained)
    other = TrainedModel(model, trained.cfg, trained.class_names, None, None)
    pairs = list(zip(predict_batch(trained, packed), predict_batch(other, packed)))
    difference = np.max([_difference(*pair) for pair in pairs])  # NaN if any is
    if not difference <= tolerance:
        raise InputError(
            f'The scores without ltmm differ by {difference:.2g} from those of the model (tolerance {tolerance:g}): '
            'its loss or head computes them in another way. Nothing was written.'
        )
    files = write_plain(path, trained, cfg, model)
    return (
        f'{" and ".join(map(str, files))}: load without ltmm; compared on {len(packed)} images: scores differ by at '
        f'most {difference:.1e}.'
    )


def _difference(expected: Any, got: Any) -> float:
    """Largest difference of scores, and of boxes in units of 100 pixels."""
    if 'pred_score' in expected:
        return (expected.pred_score - got.pred_score).abs().max().item()
    one, two = expected.pred_instances, got.pred_instances
    if len(one) != len(two) or not torch.equal(one.labels, two.labels):
        return float('inf')
    if not len(one):
        return 0.0
    return max((one.scores - two.scores).abs().max().item(), (one.bboxes - two.bboxes).abs().max().item() / 100)
