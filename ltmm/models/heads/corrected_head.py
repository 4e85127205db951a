"""Head with a correction of its predictions."""

from mmpretrain.models.heads import ClsHead

from ltmm.registry import MODELS

__all__ = ['corrected_head']


@MODELS.register_module(name='CorrectedHead')
def corrected_head(head: dict, correction: dict) -> ClsHead:
    """Build a head whose predictions are corrected after training; its checkpoints hold the correction.

    ``tools/post_process.py`` writes checkpoints for it.

    Args:
        head: Config of a head derived from mmpretrain's ClsHead; its parameters keep their names.
        correction: Config of the correction, such as ``dict(type='ltmm.IsotonicCalibration')``.
    """
    from ltmm.models.post_process.base import attach_correction  # imports the heads

    return attach_correction(MODELS.build(head), MODELS.build(correction))
