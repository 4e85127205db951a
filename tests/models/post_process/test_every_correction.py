"""Promises of all corrections."""

import pytest
import torch
from mmpretrain.models.heads import ClsHead

from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process.base import attach_correction
from ltmm.registry import MODELS

COUNTS = [500, 60, 20, 3]
CORRECTIONS = [
    dict(type='ltmm.LogitAdjustment', tau=0.7, class_counts=COUNTS),
    dict(type='ltmm.TauNorm', tau=0.7),
    dict(type='ltmm.TemperatureScaling', temperature=0.5),
    dict(type='ltmm.NearestClassMean', transform='un', similarity='dot'),
    dict(type='ltmm.TotalDirectEffect', alpha=1.5),
    dict(type='ltmm.NorCal', gamma=0.7, on='probs', renorm=False, class_counts=COUNTS),
    dict(type='ltmm.FRACAL', fractal_weight=1.5, base=2, dimensions=[1.8, 1.5, 1.0, 1.2], class_counts=COUNTS),
    dict(type='ltmm.LogN', mean=[[-2.0, -4.0, -5.0, -6.0]], std=[[2.0, 1.5, 1.0, 0.5]], num_images=7),
    dict(type='ltmm.ImportanceWeightedTemperatureScaling', alpha=0.9, temperature=0.5, class_counts=COUNTS),
    dict(type='ltmm.GeneralizedLogitAdjustment', zero_shot=dict(val='v.npy', test='t.npy'), class_counts=COUNTS),
]
STATEFUL = [
    dict(type='ltmm.ConformalSets', alpha=0.3, class_share=0.5, class_counts=COUNTS),
    dict(type='ltmm.EnsembleTemperatureScaling'),
    dict(type='ltmm.HistogramBinning', num_bins=5),
    dict(type='ltmm.IsotonicCalibration'),
    dict(type='ltmm.IsotonicCalibration', per_class=True, after_temperature=True),
]
WRITTEN = [  # with the classifiers that can hold the correction
    (CORRECTIONS[0], 'Linear'),
    (CORRECTIONS[1], 'Linear without bias'),
    (CORRECTIONS[1], 'Linear'),
    (CORRECTIONS[2], 'Linear without bias'),
    (CORRECTIONS[2], 'Linear'),
    (CORRECTIONS[8], 'Linear'),
]
INVALID = {
    'ltmm.LogitAdjustment': [dict(tau=-0.1), dict(tau=float('nan')), dict(eps=-1), dict(eps=float('inf'))],
    'ltmm.TauNorm': [dict(tau=-1), dict(tau=float('nan'))],
    'ltmm.TemperatureScaling': [dict(temperature=0), dict(temperature=float('inf'))],
    'ltmm.TotalDirectEffect': [dict(alpha=float('nan'))],
    'ltmm.ImportanceWeightedTemperatureScaling': [
        dict(alpha=1.1),
        dict(clip=(5, 0.3)),
        dict(clip=(0, 5)),
        dict(bounds=(5, 0.05)),
        dict(eps=0.0),
        dict(head_classes=0),
        dict(head_classes='few'),
        dict(head_classes=[-1]),
        dict(temperature=0),
    ],
    'ltmm.ConformalSets': [dict(alpha=0), dict(alpha=1.0), dict(score='aps'), dict(class_share=1.5)],
    'ltmm.GeneralizedLogitAdjustment': [dict(zero_shot=dict(val='v.npy'))],
    'ltmm.HistogramBinning': [dict(num_bins=0), dict(num_bins=2.5)],
    'ltmm.NearestClassMean': [dict(transform='l1'), dict(similarity='cos')],
    'ltmm.FRACAL': [
        dict(fractal_weight=-1),
        dict(base=1),
        dict(base=float('inf')),
        dict(dimensions=[0.5, 1.0]),
        dict(dimensions=[1.0, float('nan')]),
    ],
    'ltmm.LogN': [
        dict(mean=[1.0]),
        dict(std=[0.0], mean=[1.0]),
        dict(mean=[float('nan')], std=[1.0]),
        dict(mean=[1.0, 2.0], std=[1.0]),
        dict(num_images=0),
    ],
    'ltmm.NorCal': [
        dict(gamma=-0.1),
        dict(gamma=1.0, factor='effective_number'),
        dict(factor='cb'),
        dict(on='scores'),
        dict(renorm=False, on='logits'),
    ],
}


def head_with(classifier):
    name, *without_bias = classifier.split(' ', 1)
    options = dict(bias=False) if without_bias else dict(scale=16) if name == 'NormedLinear' else {}
    head = LongTailClsHead(4, 6, classifier=dict(type=f'ltmm.{name}', **options)).eval()
    torch.nn.init.normal_(head.fc.weight)
    return head


@pytest.mark.parametrize('cfg', CORRECTIONS + STATEFUL, ids=lambda cfg: cfg['type'])
def test_settings_build_it_again(cfg):
    settings = MODELS.build(dict(cfg)).settings()
    assert settings.items() >= {key: value for key, value in cfg.items() if key != 'type'}.items()
    assert MODELS.build(dict(type=cfg['type'], **settings)).settings() == settings


@pytest.mark.parametrize('cfg, classifier', WRITTEN, ids=lambda x: x if isinstance(x, str) else x['type'])
def test_written_head_gives_the_corrected_logits(cfg, classifier, features):
    head, step = head_with(classifier), MODELS.build(dict(cfg))
    step.check(head)
    expected = step(head.fc(features), features, head)
    assert step.write(head)
    torch.testing.assert_close(head.fc(features), expected)


@pytest.mark.parametrize('cfg', [CORRECTIONS[0], CORRECTIONS[2]], ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('classifier', ['NormedLinear', 'ScaledLinear'])
def test_other_classifiers_cannot_hold_it(cfg, classifier):
    assert not MODELS.build(dict(cfg)).write(head_with(classifier))


def test_logit_adjustment_needs_a_bias_to_be_written():
    assert not MODELS.build(dict(CORRECTIONS[0])).write(head_with('Linear without bias'))


@pytest.mark.parametrize('cfg', [dict(type=name, **options) for name in INVALID for options in INVALID[name]], ids=str)
def test_invalid_arguments(cfg):
    with pytest.raises(ValueError, match=list(cfg)[1]):
        MODELS.build(cfg)


@pytest.mark.parametrize('inner', ['ltmm.LongTailClsHead', 'LinearClsHead'])
@pytest.mark.parametrize('cfg', STATEFUL, ids=str)
def test_head_holds_a_correction_with_a_state(cfg, inner, make_split, features):
    inner = dict(type=inner, num_classes=4, in_channels=6)
    val = make_split([20, 9, 5, 4])
    fitted = MODELS.build(dict(cfg))
    fitted.fit(None, val)
    head = attach_correction(MODELS.build(dict(inner)).eval(), fitted)
    torch.nn.init.normal_(head.fc.weight)
    again = MODELS.build(dict(type='ltmm.CorrectedHead', head=inner, correction=cfg)).eval()
    again.load_state_dict(head.state_dict())
    assert isinstance(again, ClsHead)
    logits = head.fc(features)
    torch.testing.assert_close(again((features,)), fitted(logits, features, head), check_dtype=False)
    for one, other in zip(head.predict((features,)), again.predict((features,))):
        assert all(torch.equal(one.get(key), other.get(key)) for key in one.keys())
    again.train()
    torch.testing.assert_close(again((features,)), logits)


@pytest.mark.parametrize('cfg', STATEFUL, ids=str)
def test_state_has_no_nan_with_empty_classes(cfg, make_split):
    cfg = dict(cfg, class_counts=[500, 60, 20, 0]) if 'class_counts' in cfg else cfg
    step = MODELS.build(dict(cfg))
    val = make_split([20, 9, 5, 0])
    step.fit(None, val)
    assert not step(val.logits, None, val.head).isnan().any()
    assert not any(buffer.isnan().any() for buffer in step.buffers())
