"""Small pictures inside the page."""

import base64
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

__all__ = ['thumbnail']

MAX_PIXELS = 60_000_000


def thumbnail(source: Any, size: int = 96) -> str | None:
    """Return a JPEG as data URI, with at most ``size`` pixels per side; None if there is no such picture.

    Args:
        source: Path of an image, or its pixels, (H, W) or (H, W, 3), RGB.
        size: Pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            if not isinstance(source, np.ndarray) and not Path(source).is_file():
                return None  # a pipe would wait for ever
            image = Image.fromarray(source) if isinstance(source, np.ndarray) else Image.open(source)
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft('RGB', (size, size))
            image = ImageOps.exif_transpose(image).convert('RGB')
    except Exception:  # files of strangers break decoders in many ways; the page only lacks a picture
        return None
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=82)
    return f'data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}'
