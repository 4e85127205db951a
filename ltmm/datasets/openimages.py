"""OpenImages Challenge 2019, for detectors."""

import numpy as np
from mmdet.datasets import OpenImagesChallengeDataset as MMDetOpenImagesChallengeDataset
from mmengine.fileio import get_local_path

from ltmm.registry import DATASETS
from ltmm.utils.checkpoints import read_pickle
from ltmm.utils.errors import InputError

__all__ = ['OpenImagesChallengeDataset']


@DATASETS.register_module()
class OpenImagesChallengeDataset(MMDetOpenImagesChallengeDataset):
    """mmdet's OpenImagesChallengeDataset, with group boxes flagged as ``is_group_of``, the key that the metric reads.

    The class tree is read as an array, so that code in its file is not run.

    Args:
        **kwargs: See :class:`mmdet.datasets.OpenImagesChallengeDataset`.
    """

    def load_data_list(self) -> list[dict]:
        """Load one record per image."""
        images = super().load_data_list()
        for image in images:
            for instance in image['instances']:
                instance['is_group_of'] = instance.pop('is_group_ofs')
        return images

    def _get_relation_matrix(self, hierarchy_file: str) -> np.ndarray:
        with get_local_path(hierarchy_file, backend_args=self.backend_args) as path, open(path, 'rb') as file:
            try:
                tree = np.load(file, allow_pickle=False)
            except (EOFError, ValueError):  # no .npy
                file.seek(0)
                tree = read_pickle(file)
        size = 1 + len(self._metainfo['classes'])
        if not isinstance(tree, np.ndarray) or tree.shape != (size, size) or tree.dtype.kind not in 'biuf':
            got = getattr(tree, 'shape', type(tree).__name__)
            raise InputError(f'Expected a class tree of shape {(size, size)} in {hierarchy_file}, but got {got}.')
        return tree[1:, 1:]
