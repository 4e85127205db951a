"""Small pictures inside the page."""

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

__all__ = ['thumbnail']

MAX_PIXELS = 60_000_000


def thumbnail(source: Any, size: int = 96, boxes: Sequence[tuple[str, np.ndarray]] = ()) -> str | None:
    """Return a JPEG as data URI, with at most ``size`` pixels per side; None if there is no such picture.

    Args:
        source: Path of an image, or its pixels, (H, W) or (H, W, 3), RGB; empty or None: no picture.
        size: Pixels.
        boxes: Colors and [x1, y1, x2, y2] as shares of the width and height, (K, 4), to draw.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            if not isinstance(source, np.ndarray) and not (source and Path(source).is_file()):
                return None  # a pipe would wait for ever
            image = Image.fromarray(source) if isinstance(source, np.ndarray) else Image.open(source)
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft('RGB', (size, size))
            image = ImageOps.exif_transpose(image).convert('RGB')
    except Exception:  # files of strangers break decoders in many ways; the page only lacks a picture
        return None
    image.thumbnail((size, size))
    draw = ImageDraw.Draw(image)
    for color, corners in boxes:
        for x1, y1, x2, y2 in np.clip(corners, 0, 1) * np.tile(image.size, 2):
            draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline='black')
            draw.rectangle((x1, y1, x2, y2), outline=color, width=3)
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=82)
    return f'data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}'
