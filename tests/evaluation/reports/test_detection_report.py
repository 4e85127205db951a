import numpy as np
import pytest

from ltmm.evaluation import DetectionReport

REPORT = DetectionReport(
    names=('kite', 'oar, long', 'mug'),
    train_images=np.array([50, 3, 400]),
    frequency=np.array(['c', 'r', 'f']),
    test_images=np.array([5, 0, 9]),
    test_instances=np.array([6, 0, 20]),
    ap=np.array([20.0, np.nan, 50]),
    ap50=np.array([30.0, np.nan, 80]),
    ap_fixed=np.array([25.0, np.nan, 55]),
)


def test_csv_has_the_most_frequent_class_first():
    assert REPORT.to_csv().splitlines() == [
        'label,name,train_images,frequency,test_images,test_instances,ap,ap50,ap_fixed',
        '2,mug,400,frequent,9,20,50.0000,80.0000,55.0000',
        '0,kite,50,common,5,6,20.0000,30.0000,25.0000',
        '1,"oar, long",3,rare,0,0,,,',
    ]


def test_read_gives_back_what_was_written(tmp_path):
    path = tmp_path / 'per_class_bbox.csv'
    path.write_text(REPORT.to_csv())
    again = DetectionReport.read(path)
    assert again.names == REPORT.names
    for key in ('train_images', 'frequency', 'test_images', 'test_instances', 'ap', 'ap50', 'ap_fixed'):
        np.testing.assert_array_equal(getattr(again, key), getattr(REPORT, key))


def test_figures_ignore_untested_classes():
    expected = dict(AP=35, AP50=55, APr=np.nan, APc=20, APf=50, AP_fixed=40)
    assert REPORT.figures() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    'text, message',
    [('label,name\n0,a\n', 'a per-class CSV of LVISMetric'), (REPORT.to_csv().split('\n')[0], 'LVISMetric')],
)
def test_read_another_file(tmp_path, text, message):
    path = tmp_path / 'other.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        DetectionReport.read(path)
