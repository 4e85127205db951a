import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.evaluation import MultiLabelReport

NAMES = ('kite', 'oar, long', 'mug')
COUNTS = np.array([50, 3, 400])
SCORES = np.array([[0.9, 0.1, 0.8], [0.2, 0.3, 0.6], [0.7, 0.2, 0.4], [0.1, 0.9, 0.7]])
TARGET = np.array([[1, 0, 1], [1, -1, 0], [0, 0, 1], [0, 0, 1]])


@pytest.fixture
def report():
    shots = ClassDistribution(COUNTS).shots()
    return MultiLabelReport.from_scores(SCORES, TARGET, 0.5, NAMES, COUNTS, shots)


def test_csv_has_the_most_frequent_class_first(report):
    assert report.to_csv().splitlines() == [
        'label,name,train_images,shot,test_images,ap,recall,precision,f1',
        '2,mug,400,head,3,91.6667,66.6667,66.6667,66.6667',
        '0,kite,50,medium,2,83.3333,50.0000,50.0000,50.0000',
        '1,"oar, long",3,tail,0,,,,',
    ]


def test_figures_ignore_untested_classes(report):
    figures = report.figures()
    assert figures['mAP'] == pytest.approx((91.6667 + 83.3333) / 2, abs=1e-3)
    assert figures['head'] == pytest.approx(91.6667, abs=1e-3) and np.isnan(figures['tail'])
    assert figures['micro_f1'] == pytest.approx(100 * 2 * 3 / (5 + 6))
    assert figures['macro_f1'] == pytest.approx((66.6667 + 50) / 2, abs=1e-3)


def test_read_gives_back_what_was_written(report, tmp_path):
    path = tmp_path / 'per_class.csv'
    path.write_text(report.to_csv())
    again = MultiLabelReport.read(path)
    assert again.names == NAMES and again.to_csv() == report.to_csv()
    assert again.figures().keys() == report.figures().keys() - {'micro_f1'}
    assert [(name, mask.tolist()) for name, mask in again.groups()] == [
        ('head', [False, False, True]),
        ('medium', [True, False, False]),
        ('tail', [False, True, False]),
    ]


def test_read_another_file(tmp_path):
    path = tmp_path / 'other.csv'
    path.write_text('label,name\n0,kite\n')
    with pytest.raises(ValueError, match='a per-class CSV of MultiLabelMetric'):
        MultiLabelReport.read(path)
