import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.evaluation import PerClassReport, class_scores

DISTRIBUTION = ClassDistribution([50, 300, 5, 200], class_names=['cat', 'dog, small', 'été', 'owl'])


def make_report():
    scores = class_scores(pred=[0, 1, 1, 1, 2, 0], label=[0, 1, 1, 0, 2, 1], num_classes=4)
    return PerClassReport.from_scores(scores, DISTRIBUTION, DISTRIBUTION.shots())


def test_csv_has_the_most_frequent_class_first():
    assert make_report().to_csv().splitlines() == [
        'label,name,train_images,shot,test_images,recall,precision,f1',
        '1,"dog, small",300,many,3,66.6667,66.6667,66.6667',
        '3,owl,200,many,0,,,',
        '0,cat,50,medium,2,50.0000,50.0000,50.0000',
        '2,été,5,few,1,100.0000,100.0000,100.0000',
    ]


def test_read_gives_back_what_was_written(tmp_path):
    report = make_report()
    path = tmp_path / 'per_class.csv'
    path.write_text(report.to_csv(), encoding='utf-8')
    read = PerClassReport.read(path)
    assert read.names == report.names
    assert read.shots.names() == report.shots.names()
    for key in ('train_images', 'test_images'):
        np.testing.assert_array_equal(getattr(read, key), getattr(report, key))
    for key in ('recall', 'precision', 'f1'):
        np.testing.assert_allclose(getattr(read, key), getattr(report, key), atol=1e-4)


def test_figures_ignore_untested_classes():
    figures = make_report().figures()
    assert figures == pytest.approx(
        dict(
            top1=100 * 4 / 6,
            many=200 / 3,
            medium=50,
            few=100,
            balanced_accuracy=(200 / 3 + 50 + 100) / 3,
            lowest_recall=50,
        )
    )


@pytest.mark.parametrize('text', ['a,b\n1,2\n', make_report().to_csv().splitlines()[0]])
def test_read_another_file(tmp_path, text):
    path = tmp_path / 'per_class.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match='a per-class CSV of LongTailMetric'):
        PerClassReport.read(path)
