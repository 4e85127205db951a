"""A web page that shows what a model predicts for an uploaded picture."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError

from .image_files import ImageFiles
from .predict import predict_batch
from .predictions import BoxPredictions, SingleLabelPredictions, predictions_of
from .trained_model import TrainedModel

__all__ = ['build_page', 'predict_file']

MAX_PIXELS = 50_000_000
MAX_FILE_SIZE = '20mb'
COLUMNS = ('class', 'score', 'training images')


def predict_file(
    predictions: SingleLabelPredictions | BoxPredictions, path: str, size: tuple[int, int] | None = None
) -> tuple[dict[str, float], list[list], np.ndarray]:
    """Return scores by name, the rows of the table (class, score, training images), and the drawn picture, RGB.

    Args:
        predictions: What to read from the output of the model.
        path: The picture.
        size: See :class:`ImageFiles`.

    Raises:
        InputError: The file is no picture, or has too many pixels.
    """
    _check_pixels(path)
    trained = predictions.trained
    _, inputs, image = ImageFiles([Path(path)], trained.cfg, size, keep_images=True)[0]
    if isinstance(inputs, str):
        raise InputError('This file cannot be read as a picture.')
    (sample,) = predict_batch(trained, [inputs])
    record = predictions.record('', sample)
    items = record['boxes' if trained.task == 'detection' else 'predictions']
    scores: dict[str, float] = {}
    for item in items:
        scores[item['name']] = max(item['score'], scores.get(item['name'], 0.0))
    rows = [[item['name'], round(item['score'], 4), item.get('train_images', 'unknown')] for item in items]
    return scores, rows, predictions.draw(image, sample)


def build_page(trained: TrainedModel, title: str, size: tuple[int, int] | None = None, **options: Any) -> Any:
    """Build the page, a ``gradio.Blocks``.

    Args:
        trained: The model.
        title: Of the page.
        size: See :class:`ImageFiles`.
        options: See :func:`predictions_of`.
    """
    os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')
    check_extra('demo', 'gradio')
    import gradio

    predictions = predictions_of(trained, **options)
    ImageFiles([], trained.cfg, size)  # refuses a wrong size before the page opens

    def answer(path: str | None) -> tuple:
        if path is None:
            return {}, [], None
        try:
            return predict_file(predictions, path, size)
        except (InputError, OSError) as e:
            raise gradio.Error(str(e)) from None

    is_detector = trained.task == 'detection'
    note = f'Scores are corrected by {trained.correction}.' if trained.correction else ''
    with gradio.Blocks(title=title, analytics_enabled=False) as page:
        gradio.Markdown(f'# {title}\n{note}')
        with gradio.Row():
            picture = gradio.Image(type='filepath', image_mode=None, label='Picture', sources=['upload'])
            with gradio.Column():
                drawn = gradio.Image(label='Prediction', visible=is_detector, interactive=False)
                bars = gradio.Label(label='Scores', num_top_classes=20)
                table = gradio.Dataframe(
                    headers=list(COLUMNS), label='Training images of each class', interactive=False
                )
        picture.change(answer, picture, [bars, table, drawn])
    return page


def _check_pixels(path: str) -> None:
    """Refuse a picture that would need much memory, by its header."""
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, Image.DecompressionBombError):
        raise InputError('This file cannot be read as a picture.') from None
    if width * height > MAX_PIXELS:
        raise InputError(
            f'The picture has {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} million are taken.'
        )
