"""Pictures from the test set of a config, for datasets without image files."""

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ltmm.registry import DATASETS
from ltmm.utils.checkpoints import forbid_code
from ltmm.utils.errors import InputError
from ltmm.utils.references import resolve_references

from .prediction_sections import Pictures

__all__ = ['pictures_of_test_set']


def pictures_of_test_set(config: str) -> Pictures:
    """Return a function of (path, position) that finds the pixels or the path in the test set of a config.

    Args:
        config: Config file. It is code: use your own.
    """
    forbid_code()
    cfg = Config.fromfile(config)
    resolve_references(cfg)
    if not cfg.get('test_dataloader'):
        raise InputError(f'Expected {config} to have a test_dataloader, but it has none.')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)

    def picture(path: str, index: int) -> np.ndarray | str | None:
        record = dataset.get_data_info(index) if index < len(dataset) else {}
        pixels = record.get('img')
        return pixels if isinstance(pixels, np.ndarray) else path or record.get('img_path')

    return picture
