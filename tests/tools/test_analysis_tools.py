import csv
import json
import runpy

import numpy as np
import pytest
from PIL import Image
from toy import COUNTS, ROOT, toy_config

from ltmm import ClassDistribution
from ltmm.evaluation import DetectionReport, PerClassReport, class_scores
from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.errors import InputError


def tool(name, *args):
    runpy.run_path(str(ROOT / f'tools/analysis_tools/{name}.py'))['main'](list(map(str, args)))


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'toy_config.py'
    toy_config(tmp_path).dump(path)
    return path


# ---------------------------------------------------------------------- class_distribution.py


def test_class_distribution_writes_three_files(config, tmp_path, capsys):
    picture, table, counts = (tmp_path / f'classes.{suffix}' for suffix in ('png', 'csv', 'json'))
    tool('class_distribution', config, '--out', picture, '--csv', table, '--json', counts)
    assert f'3 classes, {sum(COUNTS)} images' in capsys.readouterr().out
    assert picture.stat().st_size > 5000
    rows = list(csv.DictReader(table.open()))
    assert [int(row['images']) for row in rows] == list(COUNTS)
    assert [row['shot'] for row in rows] == ['medium', 'few', 'few']
    assert ClassDistribution.build(str(counts)).instance_counts.tolist() == list(COUNTS)


def test_class_distribution_takes_overrides(config, capsys):
    tool('class_distribution', config, '--cfg-options', 'train_dataloader.dataset.counts=(5,4,3)')
    assert '3 classes, 12 images' in capsys.readouterr().out


def test_class_distribution_of_a_config_with_references(tmp_path, capsys):
    text = (
        "data_root = None\ntrain_dataloader = dict(dataset=dict(type='ltmm.CustomDataset', data_root='${data_root}'))\n"
    )
    (tmp_path / 'mine.py').write_text(text + "num_classes = 'auto'\ndefault_scope = 'mmpretrain'\n")
    for name, count in (('bolt', 5), ('nut', 2)):
        (tmp_path / 'photos' / name).mkdir(parents=True)
        for i in range(count):
            Image.new('RGB', (4, 4)).save(tmp_path / 'photos' / name / f'{i}.png')
    tool('class_distribution', tmp_path / 'mine.py', '--cfg-options', f'data_root={tmp_path / "photos"}')
    assert '2 classes, 7 images' in capsys.readouterr().out
    with pytest.raises(InputError, match='`data_root` of the config is not set'):
        tool('class_distribution', tmp_path / 'mine.py')


def test_class_distribution_with_other_limits(config, capsys):
    options = ('--cfg-options', 'train_dataloader.dataset.counts=(5,4,3)', '--thresholds')
    tool('class_distribution', config, *options, '4', '4')
    assert '1 many, 1 medium, 1 few; 0 empty' in capsys.readouterr().out
    tool('class_distribution', config, *options, 'auto')
    assert '1 many, 1 medium, 1 few; 0 empty' in capsys.readouterr().out
    with pytest.raises(ValueError, match="or 'auto', but got"):
        tool('class_distribution', config, *options, '4')


@pytest.mark.skipif(not mmdet_is_usable(), reason='needs mmdet')
def test_class_distribution_of_a_detection_config(tmp_path, capsys):
    boxes = [(1, 1), (1, 1), (1, 2), (2, 1)]  # image, category
    annotations = dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=64, height=64) for i in (1, 2)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=[
            dict(id=i, image_id=image, category_id=category, bbox=[1, 1, 9, 9], area=81, iscrowd=0)
            for i, (image, category) in enumerate(boxes, 1)
        ],
    )
    (tmp_path / 'train.json').write_text(json.dumps(annotations))
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='train.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('cat', 'dog')),
    )
    path = tmp_path / 'detector.py'
    path.write_text(f"default_scope = 'mmdet'\ntrain_dataloader = dict(dataset={dataset})\n")
    tool('class_distribution', path, '--out', tmp_path / 'classes.png')
    out = capsys.readouterr().out
    assert '2 classes, 2 images, 4 instances' in out
    assert '0 frequent (> 100), 0 common, 2 rare (<= 10)' in out and 'few' not in out


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('val_dataloader = None', 'Expected .* to have a train_dataloader, but it has none'),
        ("train_dataloader = dict(dataset=dict(type='mmpretrain.CustomDataset', ann_file='none.txt'))", 'none.txt'),
    ],
)
def test_class_distribution_without_training_data(tmp_path, text, message):
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises((InputError, FileNotFoundError), match=message):
        tool('class_distribution', path)


# ---------------------------------------------------------------------- compare_runs.py


@pytest.fixture
def work_dirs(tmp_path):
    """Two work dirs with one evaluation each."""
    distribution = ClassDistribution([300, 50, 5])
    label = np.arange(30) % 3
    for name, wrong in (('ce', [2, 5, 8, 11, 1]), ('balanced', [0, 2])):
        pred = label.copy()
        pred[wrong] = (label[wrong] + 1) % 3
        report = PerClassReport.from_scores(class_scores(pred, label, 3), distribution, distribution.shots())
        path = tmp_path / name / '20260101_000000' / 'per_class.csv'
        path.parent.mkdir(parents=True)
        path.write_text(report.to_csv())
    return [tmp_path / 'ce', tmp_path / 'balanced']


def test_compare_draws_the_experts_in_panels(work_dirs, tmp_path, capsys):
    for path in work_dirs:
        (file,) = path.rglob('per_class.csv')
        file.with_name('per_class_expert0.csv').write_text(file.read_text())
    tool('compare_runs', *work_dirs, '--csv-name', 'per_class*.csv', '--panels', '--out', tmp_path / 'panels.png')
    names = [line.split('  ')[0] for line in capsys.readouterr().out.splitlines()[1:5]]
    assert names == ['ce', 'ce, expert 0', 'balanced', 'balanced, expert 0']
    assert Image.open(tmp_path / 'panels.png').width > 1000


def test_compare_writes_two_files(work_dirs, tmp_path, capsys):
    tool('compare_runs', *work_dirs, '--out', tmp_path / 'runs.png', '--csv', tmp_path / 'runs.csv')
    head, ce, balanced = capsys.readouterr().out.splitlines()[:3]
    assert head.split()[:7] == ['run', '(*', 'best)', 'top1', 'many', 'medium', 'few']
    assert ce.split() == ['ce', '83.33', '100.00*', '90.00', '60.00', '83.33', '60.00']
    assert balanced.split() == ['balanced', '93.33*', '90.00', '100.00*', '90.00*', '93.33*', '90.00*']
    assert (tmp_path / 'runs.png').stat().st_size > 5000
    assert (tmp_path / 'runs.csv').read_text().splitlines()[-1] == '2,2,5,few,10,60.0000,90.0000'


def test_compare_with_names_in_markdown(work_dirs, capsys):
    tool('compare_runs', *work_dirs, '--markdown', '--names', 'A', 'B')
    assert [line.split(' | ')[0] for line in capsys.readouterr().out.splitlines()] == ['| run', '| ---', '| A', '| B']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['nowhere'], 'Expected per_class.csv in nowhere, but there is no folder'),
        (['{ce}', '--names', 'A', 'B'], 'Expected a name for each of the 1 runs, but got 2'),
        (['{ce}', '--panels', '--out', 'x.png'], '--panels .* needs --csv-name'),
        (['{ce}', '--panels', '--csv-name', 'per_class*.csv'], '--panels .* --out'),
        (['{ce}', '--csv-name', 'other.csv'], 'Expected other.csv in .* but there is none'),
        (['{config}'], 'Expected .*toy_config.py to be a per-class CSV'),
        (['{ce}', '--out', '{config}/x.png'], 'toy_config.py'),
        (['{ce}', '--out', 'x.xyz'], '`suffix`'),
    ],
)
def test_compare_with_invalid_arguments(work_dirs, config, args, message):
    with pytest.raises((InputError, OSError), match=message):
        tool('compare_runs', *(arg.format(ce=work_dirs[0], config=config) for arg in args))


def test_compare_runs_of_detectors(tmp_path, capsys):
    for name, shift in (('softmax', 0), ('seesaw', 9)):
        report = DetectionReport(
            names=('a', 'b', 'c'),
            train_images=np.array([400, 40, 4]),
            frequency=np.array(['f', 'c', 'r']),
            test_images=np.array([9, 8, 0]),
            test_instances=np.array([9, 8, 0]),
            ap=np.array([50, 20 + shift, np.nan]),
            ap50=np.array([60, 30, np.nan]),
            ap_fixed=np.array([51, 21, np.nan]),
        )
        (tmp_path / name).mkdir()
        (tmp_path / name / 'per_class_bbox.csv').write_text(report.to_csv())
    runs, table, picture = (tmp_path / 'softmax', tmp_path / 'seesaw'), tmp_path / 'runs.csv', tmp_path / 'runs.png'
    tool('compare_runs', *runs, '--csv-name', 'per_class_bbox.csv', '--csv', table, '--out', picture)
    head, _, seesaw, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ['run', '(*', 'best)', 'AP', 'AP50', 'APr', 'APc', 'APf', 'AP', 'fixed']
    assert seesaw.split() == ['seesaw', '39.50*', '45.00*', '-', '29.00*', '50.00*', '36.00*']
    assert table.read_text().splitlines()[2] == '1,b,40,common,8,20.0000,29.0000'
    assert picture.stat().st_size > 5000
    classifier = tmp_path / 'per_class.csv'
    classifier.write_text('label,name,train_images,shot,test_images,recall,precision,f1\n0,a,9,few,9,50,50,50\n')
    with pytest.raises(InputError, match='runs of one kind, but got the AP of the class and the accuracy'):
        tool('compare_runs', runs[0], classifier, '--csv-name', 'per_class_bbox.csv')
