"""Calibration errors, by the metric as a config has it."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ltmm.engine.post_process import SplitOutputs
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.evaluation.functional import calibration_bins
from ltmm.models.post_process.importance_weighted_temperature_scaling import (
    ImportanceWeightedTemperatureScaling,
    head_attention,
    wasserstein_squared,
)
from ltmm.models.post_process.temperature_scaling import weighted_nll
from ltmm.registry import METRICS, MODELS

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


@adaptor('iwts_calibration', ignores=SEED | dict(optimizer='of the authors; ours has the same optimum'))
def iwts_calibration(case: Case) -> dict[str, Any]:
    params, counts = case.params, case['cls_num']
    features, labels, num_classes = case['train_features'], case['train_labels'], len(counts)

    def fitted(num_head: int) -> ImportanceWeightedTemperatureScaling:
        options = dict(head_classes=list(range(num_head)), alpha=params['alpha'], clip=params['weight_clip'])
        options['bounds'] = params['t_bounds']
        step = MODELS.build(
            dict(type='ltmm.ImportanceWeightedTemperatureScaling', class_counts=counts.tolist(), **options)
        )
        step.fit(train, val)
        return step

    head = SimpleNamespace(num_classes=num_classes)
    train = SplitOutputs(lambda _: ModelOutputs(features, None, labels), head)
    outputs = ModelOutputs(case['val_features'], case['val_logits'], case['val_labels'])
    val = SplitOutputs(lambda _: outputs, head)
    mean, std = train.class_means(), train.class_variances().sqrt()
    distance = wasserstein_squared(mean, std)
    is_head = torch.arange(num_classes) < params['num_head_cls']
    step = fitted(params['num_head_cls'])
    weights = step.weights(train, val)
    logprob = step(case['test_logits'], None, None).log_softmax(1)
    return dict(
        wasserstein_sq=distance,
        attention=head_attention(distance, is_head, mean.size(1)),
        weights=weights,
        weighted_nll_at_1p7=weighted_nll(outputs.logits / 1.7, outputs.label, weights),
        temperature=[step.temperature],
        temperature_plain_ts=[fitted(num_classes).temperature],  # all weights are 1
        test_calibrated_logprob=logprob.exp().clamp(1e-20, 1 - 1e-20).log(),
    )
