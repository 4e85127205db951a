"""Calibration errors, by the metric as a config has it."""

from typing import Any

from torch import Tensor

from ltmm.evaluation.functional import calibration_bins
from ltmm.registry import METRICS

from ..frame import Case, adaptor

SEED = dict(seed='of the random inputs, which are in the arrays')
PERCENT = ('ece', 'mce', 'oe', 'sce', 'ace', 'tace')


def calibration_figures(logits: Tensor, label: Tensor, **cfg: Any) -> dict[str, float]:
    """Figures of CalibrationMetric, errors as shares.

    Args:
        logits: (N, C).
        label: (N,).
        cfg: arguments of the metric.
    """
    metric = METRICS.build(dict(type='ltmm.CalibrationMetric', ace=True, **cfg))
    samples = [dict(gt_label=y[None], pred_score=score) for y, score in zip(label, logits.softmax(1))]
    for start in range(0, len(samples), 64):  # batches, the last of them smaller
        metric.process({}, samples[start : start + 64])
    figures = {name.removeprefix('calibration/'): value for name, value in metric.evaluate(len(samples)).items()}
    return {name: value / 100 if name in PERCENT else value for name, value in figures.items()}


@adaptor('balpoe_calibration')
def balpoe_calibration(case: Case) -> dict[str, Any]:
    cfg = dict(num_bins=case.params['n_bins'], count_true_negatives=True)
    figures = calibration_figures(case['logits'], case['target'], **cfg)
    return {name: figures[name] for name in ('ece', 'mce', 'oe', 'sce', 'ace')}


@adaptor('calibration_metrics', ignores=SEED)
def calibration_metrics(case: Case) -> dict[str, Any]:
    num_bins, logits, label = case.params['n_bins'], case['logits'], case['labels']
    figures = calibration_figures(logits, label, num_bins=num_bins, tace_threshold=case.params['tace_threshold'])
    confidence, pred = logits.softmax(1).max(1)
    hit = pred == label
    bins = calibration_bins(confidence.numpy(), hit.numpy(), num_bins)
    return dict(
        {name: figures[name] for name in (*PERCENT, 'brier')},
        acc=hit.double().mean(),
        bin_prop=bins.count / bins.num_samples,
        bin_acc=bins.accuracy,
        bin_conf=bins.confidence,
    )
