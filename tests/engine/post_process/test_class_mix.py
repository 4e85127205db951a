import logging

import pytest
import torch
import toy  # noqa: F401  (registers ToyImages)
from mmengine.config import Config

from ltmm import ClassDistribution
from ltmm.engine.post_process.class_mix import check_class_mix
from ltmm.registry import MODELS

TRAIN = ClassDistribution([300, 60, 30, 10])
IWTS = 'ltmm.ImportanceWeightedTemperatureScaling'


def check(name, val, test, monkeypatch):
    """Warnings for validation and test data with these counts."""
    logged = []
    monkeypatch.setattr('ltmm.engine.post_process.class_mix.print_log', lambda *args: logged.append(args))
    cfg = Config(dict(test_dataloader=dict(dataset=dict(type='ltmm.ToyImages', counts=test, test_mode=True))))
    check_class_mix(MODELS.build(dict(type=name)), torch.arange(4).repeat_interleave(torch.tensor(val)), TRAIN, cfg)
    assert all(level == logging.WARNING for _, _, level in logged)
    return [text for text, *_ in logged]


@pytest.mark.parametrize('val', [(20, 20, 20, 20), (0, 20, 20, 20), (20, 15, 12, 10)])
def test_iwts_refuses_balanced_validation_data(val, monkeypatch):
    with pytest.raises(ValueError, match="2 most frequent classes have 90 % of the training images and .*'ltmm.Hold"):
        check(IWTS, val, (5, 5, 5, 5), monkeypatch)


@pytest.mark.parametrize('val', [(60, 12, 6, 2), (58, 15, 5, 0)])
def test_iwts_takes_the_class_mix_of_the_training_data(val, monkeypatch):
    assert not check(IWTS, val, (5, 5, 5, 5), monkeypatch)


@pytest.mark.parametrize('name', ['ltmm.TemperatureScaling', 'ltmm.HistogramBinning', 'ltmm.ConformalSets'])
@pytest.mark.parametrize(
    ('val', 'test', 'warns'),
    [
        ((60, 12, 6, 2), (5, 5, 5, 5), True),
        ((20, 20, 20, 20), (5, 5, 5, 5), False),
        ((0, 20, 20, 20), (5, 5, 5, 5), False),
        ((60, 12, 6, 2), (30, 6, 3, 1), False),
    ],
)
def test_others_warn_of_long_tailed_data_for_a_balanced_test(name, val, test, warns, monkeypatch):
    warnings = check(name, val, test, monkeypatch)
    assert len(warnings) == warns
    if warns:
        assert '90 % of the training images and 90 % of the validation images, and 50 % of the test' in warnings[0]
