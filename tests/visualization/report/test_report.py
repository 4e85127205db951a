import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_runs import HOSTILE, toy_run

from ltmm import ClassDistribution
from ltmm.evaluation.reports import DetectionReport, MultiLabelReport

pytest.importorskip('plotly')

from ltmm.visualization.report import write_report
from ltmm.visualization.report.bootstrap import group_interval
from ltmm.visualization.report.predictions import SingleLabelPredictions
from ltmm.visualization.report.run_files import group_by_config, read_run_files
from ltmm.visualization.report.settings import differences, flat_settings
from ltmm.visualization.report.thumbnails import thumbnail

NAMES = ['kite', 'oar', 'mug']


def page_of(runs, tmp_path, **options):
    text = write_report(runs, tmp_path / 'report.html', **options).read_text(encoding='utf-8')
    return re.sub(r'<script>/\*\*.*?</script>', '', text, count=1, flags=re.DOTALL)  # without plotly.js


def test_seeds_are_taken_together_and_differences_listed(tmp_path):
    runs = [toy_run(tmp_path / f'ce/{seed}', seed, names=NAMES) for seed in (0, 1)]
    runs.append(toy_run(tmp_path / 'focal', 0, 'FocalLoss', names=NAMES))
    ce, focal = group_by_config([read_run_files(run) for run in runs])
    assert [run.seed for run in ce.runs] == ['0', '1'] and len(focal.runs) == 1
    values = [run.report.value for run in ce.runs]
    np.testing.assert_allclose(ce.values, (values[0] + values[1]) / 2)
    settings = [method.runs[0].settings for method in (ce, focal)]
    assert differences(settings) == {'model.head.loss.type': ["'CrossEntropyLoss'", "'FocalLoss'"]}
    page = page_of(runs, tmp_path)
    assert '2 methods, 3 runs, 3 classes' in page and 'What differs (1)' in page
    expected = np.mean([run.report.figures()['top1'] for run in ce.runs])
    assert f'{expected:.2f}' in page


def test_figures_of_a_validation_are_named(tmp_path):
    run = toy_run(tmp_path / 'run', names=NAMES)
    name = group_by_config([read_run_files(run)])[0].name
    assert f'Not tested: {name}. Their figures are of the last validation.' in page_of([run], tmp_path)
    later = run / 'test' / '20261129_111111' / 'vis_data'
    later.mkdir(parents=True)
    (later / 'scalars.json').write_text('{"long_tail/top1": 50.0, "step": 0}')
    (run / '20261129_101010' / 'per_class.csv').rename(later.parent / 'per_class.csv')
    assert 'Not tested' not in page_of([run], tmp_path)


def test_settings_run_no_code(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        "import os\nos.system('touch hacked')\na = os.listdir('.')\nb = dict(c=[dict(d=1), 2], e={'f': dict()}, g=-1)\n"
    )
    assert flat_settings(config) == {
        'a': "os.listdir('.')", 'b.c.0.d': '1', 'b.c.1': '2', 'b.e.f': 'dict()', 'b.g': '-1'
    }  # fmt: skip
    config.write_text('no python (')
    assert flat_settings(config) == {}


def test_last_value_of_a_step_counts_after_resume(tmp_path):
    run = toy_run(tmp_path / 'run', names=NAMES)
    later = run / '20261129_111111' / 'vis_data'
    later.mkdir(parents=True)
    (later / 'scalars.json').write_text('{"loss": 7.0, "step": 30}\n{"loss": NaN, "step": 40}\n{"loss": 8, "step": 50}')
    assert read_run_files(run).curve('loss') == ([10, 20, 30, 50], [0.3, 0.15, 7.0, 8])


def test_settings_are_those_of_the_training(tmp_path):
    run = toy_run(tmp_path / 'run', 3, names=NAMES)
    (log,) = run.rglob('scalars.json')
    (config,) = run.glob('*.py')
    log.with_name('config.py').write_text(config.read_text())
    config.write_text('randomness = dict(seed=0)')  # of a test of version 0.1.0
    (run / '20270101_000000.py').write_text('randomness = dict(seed=1)')  # of a correction
    (method,) = group_by_config([read_run_files(run)])
    assert (method.runs[0].seed, method.name) == ('3', config.stem)


def test_missing_files_are_named(tmp_path):
    page = page_of([toy_run(tmp_path / 'run', names=NAMES)], tmp_path)
    assert '--out RUN/predictions.npz' in page and 'ltmm.CalibrationMetric' in page
    assert 'would mislead' in page  # no curve through three classes
    names = [f'class {c}' for c in range(40)]
    page = page_of([toy_run(tmp_path / 'many', names=names, predictions=True)], tmp_path)
    assert 'would mislead' not in page and 'Not shown' not in page
    assert page.count('data:image/jpeg;base64,') >= 8


def test_what_cannot_be_told_is_said(tmp_path):
    names = [f'class {c}' for c in range(12)]
    run = toy_run(tmp_path / 'run', names=names, predictions=True)
    page = page_of([run], tmp_path)
    assert 'One seed does not tell' in page and 'name no image file' not in page
    (run / 'x.png').unlink()
    assert 'name no image file that can be read here' in page_of([run], tmp_path)
    path = run / '20261129_101010/per_class.csv'
    report = read_run_files(run).report
    path.write_text(replace(report, recall=report.recall * 0).to_csv())
    assert '8 of the 12 classes at 0.0 %.' in page_of([run], tmp_path)
    runs = [toy_run(tmp_path / f'focal/{seed}', seed, 'FocalLoss', names) for seed in range(3)]
    assert 'With 3 seeds the deviation rests on 2 degrees of freedom' in page_of(runs, tmp_path)


def test_folder_of_several_runs_is_refused(tmp_path):
    for seed in (0, 1):
        toy_run(tmp_path / f'ce/seed_{seed}', seed, names=NAMES)
    with pytest.raises(ValueError, match='ce has 2 runs. Name them one by one: .*/seed_0, .*/seed_1'):
        page_of([tmp_path / 'ce'], tmp_path)


def test_curves_are_those_of_the_last_stage(tmp_path):
    run = toy_run(tmp_path / 'run', names=NAMES)
    (run / '20261129_101010').rename(run / '20261129_121212')  # the test of the whole run
    (run / '20261129_121212/vis_data/scalars.json').unlink()
    for stage, loss in (('stage1_ce', 5.0), ('stage2_crt', 2.0)):
        toy_run(run / stage, names=NAMES)
        log = run / stage / '20261129_101010/vis_data/scalars.json'
        log.write_text(f'{{"loss": {loss}, "step": {10 * loss}}}')
        os.utime(log, (loss, 10 - loss))
    assert read_run_files(run).curve('loss') == ([20], [2.0])


def test_cost(tmp_path):
    run = toy_run(tmp_path / 'run', names=NAMES)
    assert read_run_files(run).num_weights is None
    weights = {'fc.weight': torch.zeros(3, 4), 'bn.running_mean': torch.zeros(50), 'fc.bias': torch.zeros(3)}
    torch.save(dict(state_dict=weights | {'head.class_distribution.image_counts': torch.ones(3)}), run / 'epoch_2.pth')
    (run / 'run.json').write_text('{"seconds": 71.8, "time_is_lower_bound": true}')
    assert read_run_files(run).num_weights == 15
    assert '>≥ 72 s<' in page_of([run], tmp_path)
    (run / 'epoch_2.pth').write_bytes(b'PK')
    assert read_run_files(run).num_weights is None


def test_the_same_run_counts_once(tmp_path):
    run = toy_run(tmp_path / 'run', names=NAMES)
    assert '1 method, 1 run,' in page_of([run, run / '..' / 'run'], tmp_path)


def test_other_training_sets_are_shown_apart(tmp_path):
    runs = [toy_run(tmp_path / 'a', names=NAMES), toy_run(tmp_path / 'b', 0, 'FocalLoss', NAMES, counts=[90, 9, 0])]
    page = page_of(runs, tmp_path)
    assert 'imbalance factor 9.' in page and 'imbalance factor 10, 1 class without images' in page


def test_strings_of_runs_are_escaped(tmp_path):
    run = toy_run(tmp_path / '<b>run', names=HOSTILE, predictions=True)
    page = page_of([run], tmp_path, title='<script>window.hacked=1</script>')
    for raw in ('<img src=x', '<script>window', '\'"><b>', '<b>run'):
        assert raw not in page
    assert '&lt;img src=x onerror=&quot;window.hacked=1&quot;&gt;' in page  # in a table
    assert r'\u0026lt;img src=x' in page or '&lt;img src=x' in page  # in the hover of a plot
    assert "default-src 'none'" in page and 'http://' not in page and 'https://' not in page


def test_confusion_of_groups_by_hand():
    predictions = SingleLabelPredictions(
        names=('a', 'b', 'c'), label=np.array([0, 0, 0, 1, 2, 2]), pred=np.array([0, 1, 2, 0, 2, 1]),
        test_images=np.array([3, 1, 2]), confidence=np.ones(6) * 0.5, paths=[''] * 6, sample_idx=np.arange(6),
    )  # fmt: skip
    many, medium, few = np.eye(3, dtype=bool)
    third = 100 / 3
    expected = [[third, 0, third, third], [0, 100, 0, 0], [50, 0, 50, 0]]
    np.testing.assert_allclose(predictions.confusion_of_groups([many, medium, few]), expected)
    assert predictions.mistaken_for(1) == (0, 100) and predictions.mistaken_for(2) == (1, 50)
    assert [picture.image for picture in predictions.worst(0, 1)['confident mistakes']] == [1]
    assert predictions.frequent_mistakes(many | few, 2) == [(0, 1, 1), (0, 2, 1)]


def test_bootstrap_interval_is_that_of_the_images():
    rng = np.random.default_rng(0)
    hits = [rng.random(50) < p for p in (0.2, 0.5, 0.9)]
    values = np.array([100 * h.mean() for h in hits])
    low, high = group_interval(values, np.full(3, 50))
    means = [100 * np.mean([h[rng.integers(50, size=50)].mean() for h in hits]) for _ in range(2000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.7)
    assert group_interval(values, np.full(3, 50)) == (low, high)
    assert group_interval(np.array([40.0]), None) == (40, 40)  # one class: nothing to draw


def test_several_labels_and_boxes(tmp_path):
    counts = np.array([200, 50, 3])
    target = np.eye(3, dtype=int)
    labels = MultiLabelReport.from_scores(
        target * 0.9 + 0.05, target, 0.5, tuple(NAMES), counts, ClassDistribution(counts).shots()
    )
    ones = np.full(3, 40.0)
    frequency = np.array(['f', 'c', 'r'])
    boxes = DetectionReport(tuple(NAMES), None, frequency, counts, counts, ones, ones, ones)
    for name, report, shown in (
        ('per_class.csv', labels, ('mAP', 'macro f1')),
        ('per_class_bbox.csv', boxes, ('AP fixed', 'has no training images')),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(report.to_csv())
        page = page_of([folder], tmp_path)
        assert all(text in page for text in shown) and page.count('hown: no run has predictions') == 3
    with pytest.raises(ValueError, match='one kind, but got those of LVISMetric and MultiLabelMetric'):
        page_of([tmp_path / 'per_class.csv', tmp_path / 'per_class_bbox.csv'], tmp_path)


def test_invalid_input(tmp_path):
    run = toy_run(tmp_path / 'run', names=NAMES)
    with pytest.raises(ValueError, match='there is no folder'):
        write_report([tmp_path / 'none'], tmp_path / 'a.html')
    with pytest.raises(ValueError, match=r'Expected a \.html file'):
        write_report([run], tmp_path / 'a.pdf')
    with pytest.raises(ValueError, match='runs of the same classes'):
        write_report([run, toy_run(tmp_path / 'other', names=['x', 'y', 'z'])], tmp_path / 'a.html')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'Expected per_class\.csv'):
        write_report([tmp_path / 'empty'], tmp_path / 'a.html')
    table = next(run.rglob('per_class.csv'))
    rows = table.read_text()
    table.write_text(re.sub(r'(?<=,)12(,[\d.]+){3}$', '0,,,', rows, flags=re.M))
    with pytest.raises(ValueError, match='to have tested classes, but it has none'):
        write_report([run], tmp_path / 'a.html')
    for wrong, message in (
        (('many', 'rare'), "to be one of .*, but got 'rare'"),
        (('2,mug', '3,mug'), 'labels 0 to 2'),
    ):
        table.write_text(rows.replace(*wrong))
        with pytest.raises(ValueError, match=message):
            write_report([run], tmp_path / 'a.html')
    table.write_text(rows)
    (run / '20261129_101010/vis_data/scalars.json').write_text('{"loss": 1')
    with pytest.raises(ValueError, match='line 1 is not JSON'):
        write_report([run], tmp_path / 'a.html')
    other = toy_run(tmp_path / 'two', names=['kite', 'oar'], predictions=True)
    third = toy_run(tmp_path / 'three', names=NAMES)
    (other / 'predictions.npz').rename(third / 'predictions.npz')
    with pytest.raises(ValueError, match=r"the scores of 3 classes for each image, .* got {'pred_score': \(2,\)"):
        write_report([third], tmp_path / 'a.html')


def test_thumbnail_of_a_broken_file(tmp_path):
    (tmp_path / 'x.jpg').write_bytes(b'\xff\xd8broken')
    assert thumbnail(tmp_path / 'x.jpg') is None and thumbnail(tmp_path / 'none.jpg') is None
    os.mkfifo(tmp_path / 'pipe')
    assert thumbnail(tmp_path / 'pipe') is None
    assert thumbnail(np.zeros((500, 40, 3), np.uint8)).startswith('data:image/jpeg;base64,')
