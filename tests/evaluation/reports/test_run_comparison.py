import os
from dataclasses import replace

import numpy as np
import pytest

from ltmm import ClassDistribution
from ltmm.evaluation import (
    PerClassReport,
    Run,
    class_scores,
    comparison_table,
    per_class_csv,
    read_run,
    read_runs,
    read_seeds,
)


def make_run(name, hits, counts=(300, 50, 5)):
    """A run with hits[c] correct predictions for ten test images of class c."""
    distribution = ClassDistribution(counts, class_names=[f'class {c}' for c in range(len(counts))])
    label = np.repeat(np.arange(len(counts)), 10)
    pred = np.where(np.tile(np.arange(10), len(counts)) < np.repeat(hits, 10), label, (label + 1) % len(counts))
    scores = class_scores(pred, label, len(counts))
    return Run(name, PerClassReport.from_scores(scores, distribution, distribution.shots()))


RUNS = [make_run('ce', (9, 5, 0)), make_run('balanced', (8, 6, 4))]


def test_table_marks_the_best():
    assert comparison_table(RUNS).splitlines() == [
        'run (* best)   top1    many   medium     few   balanced accuracy   lowest recall',
        'ce            46.67   90.00*   50.00    0.00               46.67            0.00',
        'balanced      60.00*  80.00    60.00*  40.00*              60.00*          40.00*',
    ]


def test_markdown_table():
    assert comparison_table(RUNS, markdown=True).splitlines() == [
        '| run | top1 | many | medium | few | balanced accuracy | lowest recall |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
        '| ce | 46.67 | **90.00** | 50.00 | 0.00 | 46.67 | 0.00 |',
        '| balanced | **60.00** | 80.00 | **60.00** | **40.00** | **60.00** | **40.00** |',
    ]


def test_multi_label_report(tmp_path):
    text = 'label,name,train_images,shot,test_images,ap,recall,precision,f1\n'
    text += '1,mug,400,head,9,60.0,50.0,50.0,50.0\n0,kite,3,tail,2,20.0,0.0,,0.0\n'
    (tmp_path / 'per_class.csv').write_text(text)
    run = read_run(tmp_path, 'bce')
    assert comparison_table([run]).splitlines()[1].split() == ['bce', '40.00', '60.00', '-', '20.00', '25.00']
    assert per_class_csv([run]).splitlines()[1:] == ['1,mug,400,head,9,60.0000', '0,kite,3,tail,2,20.0000']


def test_table_of_one_run():
    table = comparison_table([make_run('ce', (9, 5, 0), counts=(300, 200, 50))])
    assert '*' not in table
    assert table.splitlines()[1].split() == ['ce', '46.67', '70.00', '0.00', '-', '46.67', '0.00']


def test_csv_of_two_runs():
    assert per_class_csv(RUNS).splitlines() == [
        'label,name,train_images,shot,test_images,ce,balanced',
        '0,class 0,300,many,10,90.0000,80.0000',
        '1,class 1,50,medium,10,50.0000,60.0000',
        '2,class 2,5,few,10,0.0000,40.0000',
    ]


def test_csv_of_different_classes():
    other = make_run('other', (1, 1), counts=(5, 5))
    renamed = Run('renamed', replace(RUNS[1].report, names=('class 0', 'class 1', 'yak')))
    for run, message in (
        (other, 'runs of the same classes, but ce has 3 and other has 2; only in ce: class 2;'),
        (renamed, 'only in ce: class 2; only in renamed: yak'),
    ):
        for compare in (comparison_table, per_class_csv):
            with pytest.raises(ValueError, match=message):
                compare([RUNS[0], run])
    shuffled = Run('shuffled', replace(RUNS[1].report, names=('class 1', 'class 0', 'class 2')))
    assert 'shuffled' in comparison_table([RUNS[0], shuffled])
    with pytest.raises(ValueError, match="class 0 is 'class 0' in ce and 'class 1' in shuffled"):
        per_class_csv([RUNS[0], shuffled])


def test_read_run_takes_the_latest_evaluation(tmp_path):
    for age, run in ((200, RUNS[0]), (100, RUNS[1])):
        path = tmp_path / 'work' / run.name / 'per_class.csv'
        path.parent.mkdir(parents=True)
        path.write_text(run.report.to_csv())
        os.utime(path, (1e9 - age, 1e9 - age))
    run = read_run(tmp_path / 'work')
    assert run.name == 'work'
    assert run.report.figures() == pytest.approx(RUNS[1].report.figures())
    assert read_run(tmp_path / 'work/ce/per_class.csv', 'mine').report.figures()['few'] == 0


def test_read_runs_of_experts(tmp_path):
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


def test_read_runs_of_seeds(tmp_path):
    for folder in ('seed_0', 'seed_10', 'seed_2', 'seed_x'):
        for name in ('', '_expert0'):
            path = tmp_path / 'ride' / folder / '20260101' / f'per_class{name}.csv'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(RUNS[0].report.to_csv())
    (tmp_path / 'ride/seed_3').mkdir()  # not finished
    runs = read_seeds(tmp_path / 'ride')
    assert [(run.name, run.method) for run in runs] == [(f'ride, seed {n}', 'ride') for n in (0, 2, 10)]
    runs = read_seeds(tmp_path / 'ride', 'mine', csv_name='per_class*.csv')
    assert [run.name for run in runs[:2]] == ['mine, seed 0', 'mine, seed 0, expert 0']
    assert [run.method for run in runs] == ['mine', 'mine, expert 0'] * 3
    (run,) = read_seeds(tmp_path / 'ride/seed_2')
    assert (run.name, run.method) == ('ride', '')
    (run,) = read_runs(tmp_path / 'ride')  # the latest evaluation, whatever folders there are
    assert run.name == 'ride'


def test_read_run_without_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='It is written by ltmm.LongTailMetric in val_evaluator'):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        read_run(tmp_path / 'nowhere')
