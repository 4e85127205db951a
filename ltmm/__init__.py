"""Long-tailed recognition for PyTorch and OpenMMLab."""

from ltmm.utils.environment import (
    check_installed,
    provide_cache_folder,
    provide_mmcv_ops,
    provide_mmpretrain_beside_transformers,
)

check_installed('mmengine')  # one readable line in place of an ImportError from the depths
provide_cache_folder()
provide_mmcv_ops()
provide_mmpretrain_beside_transformers()

from ltmm import registry  # noqa: E402  (makes scope 'ltmm' known to MMEngine)
from ltmm.class_distribution import ClassDistribution  # noqa: E402
from ltmm.version import __version__  # noqa: E402

__all__ = ['ClassDistribution', '__version__']
