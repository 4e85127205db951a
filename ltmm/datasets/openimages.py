"""OpenImages Challenge 2019, for detectors."""

from mmdet.datasets import OpenImagesChallengeDataset as MMDetOpenImagesChallengeDataset

from ltmm.registry import DATASETS

__all__ = ['OpenImagesChallengeDataset']


@DATASETS.register_module()
class OpenImagesChallengeDataset(MMDetOpenImagesChallengeDataset):
    """mmdet's OpenImagesChallengeDataset, with group boxes flagged as ``is_group_of``, the key that the metric reads.

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
