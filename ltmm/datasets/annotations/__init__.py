"""Annotation files of COCO and LVIS as columns on disk, shared by all processes that read them."""

from .cache import cache_folder, load_annotations, sha256_of
from .columns import Annotations, UncacheableError, write_columns
from .records import iterate_blocks

__all__ = [
    'Annotations',
    'UncacheableError',
    'cache_folder',
    'iterate_blocks',
    'load_annotations',
    'sha256_of',
    'write_columns',
]
