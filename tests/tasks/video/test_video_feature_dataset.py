"""Videos as feature files: lists, frames, broken files, and a training by a shipped config."""

import json

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from toy import ROOT, read_config

from ltmm.datasets import class_distribution_of
from ltmm.registry import DATASETS
from ltmm.tasks.video import VideoFeatureDataset, pick_frames
from ltmm.utils.errors import InputError

CLASSES = ['Holding something', 'Moving something up', 'Pushing something']
LINES = ['a/v 0.mp4 0', 'a/v1.webm 0', 'b/v.2 1', 'v3 2']


def frames(seed, num=5, width=4):
    return np.random.default_rng(seed).standard_normal((num, width)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Four videos in the two formats of lists; one file holds a single feature."""
    for i, name in enumerate(('a/v 0', 'a/v1', 'b/v.2', 'v3')):
        path = tmp_path / f'features/{name}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, frames(i)[0] if i == 3 else frames(i, num=3 + i))
    (tmp_path / 'train.lst').write_text('\n'.join(LINES))
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    (tmp_path / 'labels.json').write_text(json.dumps({name: str(i) for i, name in [*enumerate(CLASSES)][::-1]}))
    records = [('a/v 0', 'Holding [something]'), ('a/v1', 'Holding [something]'), ('b/v.2', 'Moving [something] up')]
    records = [dict(id=name, label='holding it', template=template) for name, template in records]
    (tmp_path / 'train.json').write_text(json.dumps([*records, dict(id='v3', template='Pushing [something]')]))
    return tmp_path


def build(folder, **options):
    cfg = dict(type='ltmm.VideoFeatureDataset', data_root=str(folder), ann_file='train.lst', features='features')
    return DATASETS.build(cfg | dict(classes='classes.txt') | options)


@pytest.mark.parametrize('files', [('train.lst', 'classes.txt'), ('train.json', 'labels.json')])
def test_both_lists(folder, files):
    dataset = build(folder, ann_file=files[0], classes=files[1])
    assert dataset.metainfo['classes'] == tuple(CLASSES)
    assert dataset.get_gt_labels().tolist() == [0, 0, 1, 2]
    assert class_distribution_of(dataset).image_counts.tolist() == [2, 1, 1]
    expected = [frames(0, 3).mean(0), frames(1, 4).mean(0), frames(2, 5).mean(0), frames(3)[0]]
    batch = dataset.__getitems__([2, 0, 3])
    np.testing.assert_allclose(batch['inputs'], np.stack(expected)[[2, 0, 3]], rtol=1e-6)
    assert batch['data_samples'][0].gt_label.tolist() == [1, 0, 2]


def test_test_mode_has_a_sample_per_video(folder):
    samples = build(folder, test_mode=True).__getitems__([1, 2])['data_samples']
    assert [(sample.gt_label.item(), sample.sample_idx) for sample in samples] == [(0, 1), (1, 2)]


def test_some_frames(folder):
    middle = build(folder, num_frames=2, test_mode=True).__getitems__([2, 3])['inputs']
    np.testing.assert_allclose(middle, np.stack([frames(2, 5)[[1, 3]].mean(0), frames(3)[0]]), rtol=1e-6)
    torch.manual_seed(0)
    dataset = build(folder, num_frames=2)
    drawn = [tuple(dataset[2]['inputs'][0].tolist()) for _ in range(30)]
    assert 2 < len({*drawn}) <= 9  # 3 x 3 pairs of a frame of each half


@pytest.mark.parametrize('num_total', [1, 2, 7, 60])
def test_picked_frames_are_in_their_segments(num_total):
    torch.manual_seed(0)
    for is_random in (False, True):
        picked = pick_frames(num_total, 4, is_random)
        assert (picked >= np.floor(np.arange(4) * num_total / 4)).all()
        assert (picked < np.ceil(np.arange(1, 5) * num_total / 4)).all()


def overwrite(path, array):
    np.save(path, array)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda f: (f / 'train.lst').write_text('v3 1,2'), "line 1: expected '<path> <label below 3>', got 'v3 1,2'"),
        (lambda f: (f / 'train.lst').write_text('v3 3'), "line 1: expected '<path> <label below 3>'"),
        (lambda f: (f / 'train.lst').write_text('v3 1\nv3 1'), 'line 2: v3 is already in line 1'),
        (lambda f: (f / 'classes.txt').write_text('a\na'), 'one class name per line, all different'),
        (lambda f: overwrite(f / 'features/v3.npy', np.zeros(3)), r'shape \(4,\) or \(T, 4\), as before, but got .*3'),
        (lambda f: overwrite(f / 'features/v3.npy', np.zeros((0, 4))), 'but got float64 .0, 4.'),
        (lambda f: overwrite(f / 'features/v3.npy', np.full(4, np.nan)), 'v3.npy has features that are not finite'),
    ],
)
def test_broken_files(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        build(folder)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(id=1), 'entry 0: expected a list of dict'),
        ([dict(id='v3', template='Eating')], "entry 0: expected `template` to be one of the classes, but got 'Eating'"),
        ([dict(id='v3', template=CLASSES[0])] * 2, "entry 1: the video 'v3' is listed twice"),
    ],
)
def test_broken_json_list(folder, content, message):
    (folder / 'train.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        build(folder, ann_file='train.json')


def test_label_file_with_a_gap(folder):
    (folder / 'labels.json').write_text(json.dumps(dict(a='0', b='2')))
    with pytest.raises(InputError, match='to map class names to the labels 0, 1, ..., each once'):
        build(folder, classes='labels.json')


def test_missing_files(folder):
    (folder / 'features/v3.npy').unlink()
    with pytest.raises(FileNotFoundError, match='Features of 1 of 4 videos are missing, .*v3.npy first'):
        build(folder)
    with pytest.raises(FileNotFoundError, match='none.lst does not exist'):
        build(folder, ann_file='none.lst')


def test_frames_of_another_width_are_found_when_read(folder):
    overwrite(folder / 'features/v3.npy', np.zeros(3))
    dataset = build(folder, num_frames=2)
    dataset.__getitems__([0])
    with pytest.raises(InputError, match='as before'):
        dataset.__getitems__([3])


# ---------------------------------------------------------------------- training


def write_videos(folder, counts, split, seed, width=16):
    """Clusters around a mean per class, as files of 1 to 3 frames."""
    means = 2 * np.random.default_rng(0).standard_normal((len(counts), width))
    rng, lines = np.random.default_rng(seed), []
    (folder / 'features').mkdir(exist_ok=True)
    for label, count in enumerate(counts):
        for i in range(count):
            name, num = f'{split}_{label}_{i}', int(rng.integers(1, 4))
            np.save(folder / f'features/{name}.npy', means[label] + rng.standard_normal((num, width)))
            lines.append(f'{name}.mp4 {label}')
    (folder / f'{split}.lst').write_text('\n'.join(lines))
    (folder / 'classes.txt').write_text('\n'.join(f'class {i}' for i in range(len(counts))))


@pytest.mark.parametrize('method', ['linear', 'lmr'])
def test_training_by_config(tmp_path, method):
    counts = [60, 30, 24, 8]
    write_videos(tmp_path, counts, 'train', 1)
    write_videos(tmp_path, [10] * 4, 'test', 2)
    cfg = read_config(ROOT / f'configs/video/{method}_videolt.py')
    groups = dict(head=[0, 1], tail=[2, 3], few_shot=[3])
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.data_root': str(tmp_path),
            'train_dataloader.batch_size': 16,
            'val_dataloader.dataset.data_root': str(tmp_path),
            'val_evaluator.groups': groups,
            'data_preprocessor.num_classes': 4,
            'model.head.num_classes': 4,
            'model.head.in_channels': 16,
            'optim_wrapper.optimizer.lr': 0.1,
            'train_cfg': dict(max_epochs=4, val_interval=4),
            'work_dir': str(tmp_path / 'work'),
            'log_level': 'WARNING',
            'test_dataloader': None,
            'test_cfg': None,
            'test_evaluator': None,
        }
    )
    if method == 'lmr':
        cfg.model.head.bank_size = 48
    runner = Runner.from_cfg(cfg)
    assert isinstance(runner.build_dataloader(cfg.train_dataloader).dataset, VideoFeatureDataset)
    runner.train()
    figures = runner.val_loop.run()
    recalls = {name: figures[f'long_tail/{name}'] for name in groups}
    assert recalls['head'] > 80 and recalls['few_shot'] > 50
    assert figures['long_tail/balanced_accuracy'] == pytest.approx((recalls['head'] + recalls['tail']) / 2)
    if method == 'lmr':
        assert int(runner.model.head.bank.num_filled) == 48
        assert (np.diff(runner.model.head.share) > 0).all()
