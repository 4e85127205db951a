import logging

import pytest
from mmengine.config import Config
from torch import nn

from ltmm.engine.post_process.balanced_models import warn_if_balanced
from ltmm.models.heads import LongTailClsHead, MultiExpertClsHead
from ltmm.models.post_process import PostProcess
from ltmm.registry import MODELS

CE = dict(type='CrossEntropyLoss')
RIDE = dict(type='ltmm.RIDELoss', diversity_factor=0, reweight_factor=0)
LDAM = dict(type='ltmm.LDAMLoss')
POWER = dict(type='ltmm.PowerSampler')
LOSSES = [
    (CE, False),
    (dict(CE, class_weight=[1, 2, 3]), True),
    (dict(type='ltmm.SoftmaxFocalLoss', gamma=2.0), False),
    (dict(type='ltmm.BalancedSoftmaxLoss'), True),
    (dict(type='ltmm.CDTLoss', gamma=0.2), True),
    (dict(type='ltmm.ReweightedLoss', loss=CE, kind='inverse'), True),
    (LDAM, False),
    (dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=1, kind='inverse'), True),
    (dict(type='ltmm.BalPoELoss'), True),
    (dict(RIDE, reweight_epoch=160), True),
    (dict(RIDE, reweight_epoch=None), False),
    (dict(type='ltmm.PerExpertLoss', loss=LDAM), False),
    (dict(type='ltmm.ReweightedExpertLoss', loss=dict(type='ltmm.SHIKELoss'), kind='inverse'), True),
    (dict(type='ltmm.SHIKELoss'), False),
]
SAMPLERS = [
    (dict(type='DefaultSampler', shuffle=True), False),
    (dict(type='ltmm.ClassAwareSampler'), True),
    (dict(POWER, power=0.5), True),
    (dict(POWER, power=1), False),
    (dict(type='ltmm.DeferredSampler', before=dict(POWER, power=1), after=dict(POWER, power=0), start_epoch=1), True),
    (dict(type='ltmm.DeferredSampler', before=dict(POWER, power=1), after=dict(POWER, power=1), start_epoch=1), False),
]


@pytest.fixture
def warning(monkeypatch):
    """A function that returns the warning, or ''."""
    logged = []
    monkeypatch.setattr(
        'ltmm.engine.post_process.balanced_models.print_log', lambda text, logger, level: logged.append((text, level))
    )

    def check(loss: dict, sampler: dict | None = None, step: PostProcess | None = None) -> str:
        is_cosine = 'LDAM' in str(loss) or 'RIDE' in str(loss)
        scale = 30 if 'RIDE' in str(loss) else 1
        options = dict(classifier=dict(type='ltmm.NormedLinear', scale=scale)) if is_cosine else {}
        is_expert = any(name in str(loss) for name in ('BalPoE', 'RIDE', 'PerExpert', 'SHIKE'))
        if is_expert:
            options['num_experts'] = 3
        head = (MultiExpertClsHead if is_expert else LongTailClsHead)(3, 4, loss=loss, **options)
        cfg = Config(dict(train_dataloader=dict(sampler=sampler)) if sampler else {})
        step = step or MODELS.build(dict(type='ltmm.LogitAdjustment'))
        logged.clear()
        warn_if_balanced(step, nn.ModuleDict(dict(head=head)), cfg)
        assert all(level == logging.WARNING and type(step).__name__ in text for text, level in logged)
        return logged[0][0] if logged else ''

    return check


@pytest.mark.parametrize('loss, expected', LOSSES, ids=str)
def test_loss_tells(warning, loss, expected):
    assert bool(warning(loss)) == expected


@pytest.mark.parametrize('sampler, expected', SAMPLERS, ids=str)
def test_sampler_tells(warning, sampler, expected):
    assert bool(warning(CE, sampler)) == expected


@pytest.mark.parametrize(
    'name, expected',
    [
        ('TauNorm', 'ten points of accuracy'),
        ('ConformalSets', 'predictions stay'),
        ('TemperatureScaling', ''),
        ('NearestClassMean', ''),
    ],
)
def test_correction_tells(warning, name, expected):
    text = warning(LOSSES[3][0], step=MODELS.build(dict(type=f'ltmm.{name}')))
    assert expected in text and bool(text) == bool(expected)
