"""Metrics: accuracy by shot, open-set figures, calibration."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.evaluation.functional import (
    calibration_bins,
    class_scores,
    expected_calibration_error,
    maximum_calibration_error,
    open_set_f_measure,
    reject_uncertain,
)
from ltmm.registry import METRICS

from ..frame import Case, adaptor


def long_tail_figures(gt_label: Tensor, **cfg: Any) -> dict[str, Any]:
    """Figures of LongTailMetric as shares, and ``by_shot``, (3,), with NaN for a group without classes.

    Args:
        gt_label: labels, (N,).
        cfg: arguments of the metric, and ``pred_label``, (N, 1), or ``pred_score``, (N, C).
    """
    predictions = {key: cfg.pop(key) for key in ('pred_label', 'pred_score') if key in cfg}
    metric = METRICS.build(dict(type='ltmm.LongTailMetric', topk=1, csv_name=None, **cfg))
    samples = dict(gt_label=gt_label[:, None], **predictions)
    metric.process({}, [{key: value[i] for key, value in samples.items()} for i in range(len(gt_label))])
    figures = metric.evaluate(len(gt_label))
    shares = {
        name.removeprefix('long_tail/'): np.nan if value == -1 else value / 100 for name, value in figures.items()
    }
    return dict(shares, by_shot=np.array([shares['many'], shares['medium'], shares['few']]))


@adaptor('lt_metrics')
def lt_metrics(case: Case) -> dict[str, Any]:
    counts, target, pred = case.params['train_counts'], case.arrays['target'], case.arrays['pred']
    confidence = case.arrays['confidence']
    labels = dict(gt_label=case['target'], pred_label=case['pred'][:, None], class_counts=counts)
    decoupling = long_tail_figures(convention='decoupling', **labels)
    oltr = long_tail_figures(convention='oltr', **labels)
    open_target = case.arrays['open_target']
    open_pred = reject_uncertain(pred, confidence, case.params['open_threshold'])
    bins = calibration_bins(confidence, pred == target, num_bins=len(case.arrays['bin_count']))
    return dict(
        decoupling_many_med_few=np.nan_to_num(decoupling['by_shot']),  # the authors give an empty group 0
        decoupling_per_class=class_scores(pred, target, len(counts)).recall,
        oltr_many_med_few=oltr['by_shot'],
        micro=decoupling['top1'],
        closed_macro_f1=decoupling['macro_f1'],
        open_pred=open_pred,
        open_f_oltr=open_set_f_measure(open_pred, open_target, count_rejects=True),
        open_f_decoupling=open_set_f_measure(open_pred, open_target, count_rejects=False),
        ece=expected_calibration_error(bins),
        mce=maximum_calibration_error(bins),
        bin_acc=bins.accuracy,
        bin_conf=bins.confidence,
        bin_count=bins.count,
    )


@adaptor('openset_and_shot_metrics', ignores=dict(seed='of the random inputs, which are in the arrays'))
def openset_and_shot_metrics(case: Case) -> dict[str, Any]:
    params, labels, scores, counts = case.params, case['labels'], case['probs'], case.arrays['cls_num']
    known = labels >= 0
    figures = long_tail_figures(
        gt_label=labels[known],
        pred_score=scores[known],
        class_counts=counts,
        thresholds=(params['many_shot_thr'], params['low_shot_thr']),
        recall_floor=params['recall_floor'],
    )
    metric = METRICS.build(
        dict(type='ltmm.OpenSetMetric', threshold=params['open_threshold'], count_rejects=False, class_counts=counts)
    )
    metric.process({}, [dict(gt_label=label[None], pred_score=score) for label, score in zip(labels, scores)])
    open_figures = metric.evaluate(len(labels))
    confidence, pred = scores.max(1)
    return dict(
        pred_open=reject_uncertain(pred, confidence, params['open_threshold']),
        f_open=open_figures['open_set/f_measure'] / 100,
        acc_open=open_figures['open_set/unknown'] / 100,
        f_closed_macro=figures['macro_f1'],
        acc_micro=figures['top1'],
        recall=class_scores(pred[known], labels[known], len(counts)).recall,
        **{name: np.nan_to_num(figures[name]) for name in ('many', 'medium', 'few')},  # an empty group is 0 there
        **{name: figures[name] for name in ('harmonic_mean', 'geometric_mean', 'lowest_recall')},
    )
