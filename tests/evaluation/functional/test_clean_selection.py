import numpy as np
import pytest

from ltmm.evaluation.functional import selection_quality
from ltmm.utils.shots import group_classes


def test_precision_and_recall_of_head_and_tail():
    generator = np.random.default_rng(0)
    true = np.repeat(np.arange(3), [300, 50, 10])
    label = np.where(generator.random(360) < 0.3, generator.integers(3, size=360), true)
    selected = generator.random(360) < 0.6
    shots = group_classes(np.array([300, 50, 10]), (100, 20))
    figures = selection_quality(selected, label, true, shots)
    for name, classes in dict(many=[0], medium=[1], few=[2]).items():
        chosen = [i for i in range(360) if selected[i] and label[i] in classes]
        clean = [i for i in range(360) if label[i] == true[i] and label[i] in classes]
        both = len({*chosen} & {*clean})
        assert figures[f'precision_{name}'] == pytest.approx(both / len(chosen))
        assert figures[f'recall_{name}'] == pytest.approx(both / len(clean))
    assert figures['precision'] == pytest.approx((label == true)[selected].mean())
    assert figures['recall'] == pytest.approx(selected[label == true].mean())


def test_nothing_selected_has_no_precision():
    shots = group_classes(np.array([300, 50, 10]), (100, 20))
    label = np.zeros(4, dtype=int)
    figures = selection_quality(np.zeros(4, dtype=bool), label, label, shots)
    assert np.isnan(figures['precision']) and figures['recall'] == 0 and np.isnan(figures['recall_few'])
