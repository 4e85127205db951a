import os

import numpy as np
import pytest
from PIL import Image

from ltmm import ClassDistribution
from ltmm.evaluation import PerClassReport, class_scores
from ltmm.visualization import (
    Run,
    comparison_table,
    per_class_csv,
    plot_accuracy_against_frequency,
    read_run,
    read_runs,
)
from ltmm.visualization.frequency_plot import _smooth
from ltmm.visualization.style import RUN_COLOURS


def make_run(name, hits, counts=(300, 50, 5)):
    """A run that is right on hits[c] of ten test images of class c."""
    distribution = ClassDistribution(counts, class_names=[f'class {c}' for c in range(len(counts))])
    label = np.repeat(np.arange(len(counts)), 10)
    pred = np.where(np.tile(np.arange(10), len(counts)) < np.repeat(hits, 10), label, (label + 1) % len(counts))
    scores = class_scores(pred, label, len(counts))
    return Run(name, PerClassReport.from_scores(scores, distribution, distribution.shots()))


RUNS = [make_run('ce', (9, 5, 0)), make_run('balanced', (8, 6, 4))]


def test_table_marks_the_best():
    assert comparison_table(RUNS).splitlines() == [
        'run        top1    many   medium     few   balanced accuracy   lowest recall',
        'ce        46.67   90.00*   50.00    0.00               46.67            0.00',
        'balanced  60.00*  80.00    60.00*  40.00*              60.00*          40.00*',
    ]


def test_markdown_table():
    assert comparison_table(RUNS, markdown=True).splitlines() == [
        '| run | top1 | many | medium | few | balanced accuracy | lowest recall |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
        '| ce | 46.67 | **90.00** | 50.00 | 0.00 | 46.67 | 0.00 |',
        '| balanced | **60.00** | 80.00 | **60.00** | **40.00** | **60.00** | **40.00** |',
    ]


def test_reads_what_a_multi_label_test_wrote(tmp_path):
    text = 'label,name,train_images,shot,test_images,ap,recall,precision,f1\n'
    text += '1,mug,400,head,9,60.0,50.0,50.0,50.0\n0,kite,3,tail,2,20.0,0.0,,0.0\n'
    (tmp_path / 'per_class.csv').write_text(text)
    run = read_run(tmp_path, 'bce')
    assert comparison_table([run]).splitlines()[1].split() == ['bce', '40.00', '60.00', '-', '20.00', '25.00']
    assert per_class_csv([run]).splitlines()[1:] == ['1,mug,400,head,9,60.0000', '0,kite,3,tail,2,20.0000']


def test_table_of_one_run_marks_nothing_and_shows_an_empty_group():
    table = comparison_table([make_run('ce', (9, 5, 0), counts=(300, 200, 50))])
    assert '*' not in table
    assert table.splitlines()[1].split() == ['ce', '46.67', '70.00', '0.00', '-', '46.67', '0.00']


def test_csv_has_a_row_a_class_and_a_column_a_run():
    assert per_class_csv(RUNS).splitlines() == [
        'label,name,train_images,shot,test_images,ce,balanced',
        '0,class 0,300,many,10,90.0000,80.0000',
        '1,class 1,50,medium,10,50.0000,60.0000',
        '2,class 2,5,few,10,0.0000,40.0000',
    ]


def test_csv_of_different_classes_is_refused():
    other = make_run('other', (1, 1), counts=(5, 5))
    with pytest.raises(ValueError, match='runs of the same classes, but ce has 3 and other has 2'):
        per_class_csv([RUNS[0], other])


def test_read_takes_the_latest_evaluation(tmp_path):
    for age, run in ((200, RUNS[0]), (100, RUNS[1])):
        path = tmp_path / 'work' / run.name / 'per_class.csv'
        path.parent.mkdir(parents=True)
        path.write_text(run.report.to_csv())
        os.utime(path, (1e9 - age, 1e9 - age))
    run = read_run(tmp_path / 'work')
    assert run.name == 'work'
    assert run.report.figures() == pytest.approx(RUNS[1].report.figures())
    assert read_run(tmp_path / 'work/ce/per_class.csv', 'mine').report.figures()['few'] == 0


def test_experts_of_the_latest_evaluation_are_runs_of_their_own(tmp_path):
    for age, folder, names in ((200, 'old', ('', '_expert0', '_expert1')), (100, 'new', ('', '_expert0'))):
        for i, name in enumerate(names):
            path = tmp_path / 'ride' / folder / f'per_class{name}.csv'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(RUNS[i % 2].report.to_csv())
            os.utime(path, (1e9 - age, 1e9 - age))
    runs = read_runs(tmp_path / 'ride', csv_name='per_class*.csv')
    assert [run.name for run in runs] == ['ride', 'ride, expert 0']
    assert [run.report.figures()['few'] for run in runs] == [0, 40]
    assert [run.name for run in read_runs(tmp_path / 'ride', 'mine')] == ['mine']
    assert [run.name for run in read_runs(tmp_path / 'ride/new/per_class_expert0.csv')] == ['per_class_expert0']
    plot_accuracy_against_frequency(runs, tmp_path / 'experts.png')


def test_read_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='It is written by ltmm.LongTailMetric in val_evaluator'):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no such folder'):
        read_run(tmp_path / 'nowhere')


@pytest.mark.parametrize('counts', [(300, 50, 5), (300, 50, 0), (7, 7, 7)], ids=['usual', 'zero count', 'balanced'])
def test_picture_shows_each_run_in_its_colour(tmp_path, counts):
    runs = [make_run('ce', (9, 5, 0), counts), make_run('balanced', (8, 6, 4), counts)]
    path = plot_accuracy_against_frequency(runs, tmp_path / 'new folder' / 'runs.png', title='toy')
    pixels = np.asarray(Image.open(path).convert('RGB')).reshape(-1, 3)
    for colour in RUN_COLOURS[:2]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - np.array(rgb)).sum(1) < 10).sum() > 50
    assert not (pixels == [int(RUN_COLOURS[2][i : i + 2], 16) for i in (1, 3, 5)]).all(1).any()


def test_more_runs_than_colours_are_refused(tmp_path):
    with pytest.raises(ValueError, match='at most 7 runs in one picture, but got 8'):
        plot_accuracy_against_frequency(RUNS * 4, tmp_path / 'runs.png')


def test_smooth_curve_is_a_local_mean():
    images = np.repeat([10, 1000], 50)
    recall = np.repeat([20.0, 80.0], 50)
    x, y = _smooth(images, recall)
    np.testing.assert_allclose((x[0], x[-1], y[0], y[-1]), (10, 1000, 20, 80), rtol=1e-6)
    assert (np.diff(y) > -1e-9).all()
