import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.evaluation import DetectionReport, MultiLabelReport, PerClassReport, class_scores

NAN = np.nan
DISTRIBUTION = ClassDistribution([50, 300, 5, 200], class_names=['cat', 'dog, small', 'été', 'owl'])
SCORES = np.array([[0.9, 0.1, 0.8], [0.2, 0.3, 0.6], [0.7, 0.2, 0.4], [0.1, 0.9, 0.7]])
TARGET = np.array([[1, 0, 1], [1, -1, 0], [0, 0, 1], [0, 0, 1]])
COUNTS = np.array([50, 3, 400])

# report, its CSV, its figures
PER_CLASS = (
    PerClassReport.from_scores(
        class_scores(pred=[0, 1, 1, 1, 2, 0], label=[0, 1, 1, 0, 2, 1], num_classes=4),
        DISTRIBUTION,
        DISTRIBUTION.shots(),
    ),
    """\
label,name,train_images,shot,test_images,recall,precision,f1
1,"dog, small",300,many,3,66.6667,66.6667,66.6667
3,owl,200,many,0,,,
0,cat,50,medium,2,50.0000,50.0000,50.0000
2,été,5,few,1,100.0000,100.0000,100.0000
""",
    dict(top1=66.6667, many=66.6667, medium=50, few=100, balanced_accuracy=72.2222, lowest_recall=50),
)
MULTI_LABEL = (
    MultiLabelReport.from_scores(
        SCORES, TARGET, 0.5, ('kite', 'oar, long', 'mug'), COUNTS, ClassDistribution(COUNTS).shots()
    ),
    """\
label,name,train_images,shot,test_images,ap,recall,precision,f1
2,mug,400,head,3,91.6667,66.6667,66.6667,66.6667
0,kite,50,medium,2,83.3333,50.0000,50.0000,50.0000
1,"oar, long",3,tail,0,,,,
""",
    dict(mAP=87.5, head=91.6667, medium=83.3333, tail=NAN, micro_f1=54.5455, macro_f1=58.3333),
)
DETECTION = (
    DetectionReport(
        names=('kite', 'oar, long', 'mug'),
        train_images=COUNTS,
        frequency=np.array(['c', 'r', 'f']),
        test_images=np.array([5, 0, 9]),
        test_instances=np.array([6, 0, 20]),
        ap=np.array([20.0, NAN, 50]),
        ap50=np.array([30.0, NAN, 80]),
        ap_fixed=np.array([25.0, NAN, 55]),
    ),
    """\
label,name,train_images,frequency,test_images,test_instances,ap,ap50,ap_fixed
2,mug,400,frequent,9,20,50.0000,80.0000,55.0000
0,kite,50,common,5,6,20.0000,30.0000,25.0000
1,"oar, long",3,rare,0,0,,,
""",
    dict(AP=35, AP50=55, APr=NAN, APc=20, APf=50, AP_fixed=40),
)
every_report = pytest.mark.parametrize('report, text, figures', [PER_CLASS, MULTI_LABEL, DETECTION])


@every_report
def test_figures_ignore_untested_classes(report, text, figures):
    assert report.figures() == pytest.approx(figures, abs=1e-4, nan_ok=True)


@every_report
def test_csv_round_trip(tmp_path, report, text, figures):
    path = tmp_path / 'per_class.csv'
    path.write_text(report.to_csv(), encoding='utf-8')
    assert report.to_csv() == text
    read = type(report).read(path)
    assert read.to_csv() == text and read.names == report.names
    np.testing.assert_array_equal(read.train_images, report.train_images)
    for (name, mask), (expected_name, expected) in zip(read.groups(), report.groups(), strict=True):
        assert name == expected_name and mask.tolist() == expected.tolist()
    figures = {name: value for name, value in figures.items() if name != 'micro_f1'}  # not in the file
    assert read.figures() == pytest.approx(figures, abs=1e-3, nan_ok=True)


@every_report
def test_read_another_file(tmp_path, report, text, figures):
    path = tmp_path / 'other.csv'
    for content in ('label,name\n0,kite\n', text.splitlines()[0], ''):
        path.write_text(content)
        with pytest.raises(ValueError, match=f'other.csv to be a per-class CSV of {report.metric}'):
            type(report).read(path)
