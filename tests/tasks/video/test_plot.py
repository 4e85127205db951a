import cv2
import numpy as np
import pytest

from ltmm.models.heads import LMRHead
from ltmm.tasks.video import plot_reconstruction
from ltmm.utils.errors import InputError

COUNTS = [500, 200, 90, 40, 12, 0]


def build():
    return LMRHead(6, 8, class_counts=COUNTS, loss=dict(type='mmpretrain.CrossEntropyLoss'))


def test_draws_a_curve_per_run(tmp_path):
    recall = np.array([60.0, 50, 40, np.nan, 5, 0])
    one, two = (
        cv2.imread(str(plot_reconstruction(build(), runs, tmp_path / f'{len(runs)}.png')))
        for runs in (dict(plain=recall), dict(plain=recall, LMR=recall / 2))
    )
    assert one.shape == two.shape and (one != two).any()


def test_wrong_number_of_classes(tmp_path):
    with pytest.raises(InputError, match=r"accuracies of 6 classes, but 'plain' has \(3,\)"):
        plot_reconstruction(build(), dict(plain=[1, 2, 3]), tmp_path / 'a.png')
