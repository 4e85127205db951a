import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from toy import toy_config
from toy_lvis import coco_content, dataset_config, detector_config, lvis_content, write_lvis
from toy_processes import run_tool

from ltmm.datasets.images import ImageError
from ltmm.engine.hooks.data_check_hook import DataCheckHook, _check_boxes
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError


def write_images(folder, suffix='.png') -> str:
    """Write 6, 4 and 2 images of three classes; the second of each class is broken."""
    for name, count in (('ant', 6), ('bee', 4), ('cow', 2)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            path = folder / name / f'{i}{suffix}'
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
            if i == 1:
                path.write_bytes(path.read_bytes()[:300])
    return str(folder)


def config(work_dir, folder, type_='ltmm.CustomDataset', num_workers=0, **options) -> Config:
    """The toy training with images of a folder for training, validation and test."""
    cfg = toy_config(work_dir, **{'train_cfg.max_epochs': 1})
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset = dict(type=type_, data_prefix=folder, pipeline=pipeline, **options)
        loader.batch_size, loader.num_workers = 4, num_workers
    return cfg


@pytest.mark.parametrize('type_', ['ltmm.CustomDataset', 'CustomDataset'])
def test_broken_image_is_named(tmp_path, type_):
    runner = Runner.from_cfg(config(tmp_path / 'run', write_images(tmp_path / 'images'), type_))
    with pytest.raises(ImageError, match=r'images/\w+/1.png cannot be read'):
        runner.train()


def test_hidden_folder_of_mmpretrain(tmp_path):
    folder = write_images(tmp_path / 'images')
    (tmp_path / 'images/.ipynb_checkpoints').mkdir()
    cfg = config(tmp_path / 'run', folder, 'CustomDataset')
    cfg.model.head.num_classes = 4
    with pytest.raises(InputError, match='ipynb_checkpoints is class 0'):
        Runner.from_cfg(cfg).train()


def test_label_of_the_validation_set(tmp_path):
    folder = write_images(tmp_path / 'images')
    (tmp_path / 'list.txt').write_text('ant/0.png 0\nbee/0.png 5\n')
    cfg = config(tmp_path / 'run', folder)
    cfg.val_dataloader.dataset.update(ann_file=str(tmp_path / 'list.txt'), metainfo=dict(classes=('ant', 'bee', 'cow')))
    with pytest.raises(InputError, match=r'in \[0, 3\), but .*bee/0.png has label 5'):
        Runner.from_cfg(cfg).train()


def test_class_names_in_a_file_with_byte_order_mark(tmp_path):
    folder = write_images(tmp_path / 'images')
    (tmp_path / 'names.txt').write_bytes('ant\nbee\ncow\n'.encode('utf-8-sig'))
    cfg = config(tmp_path / 'run', folder, 'CustomDataset', classes=str(tmp_path / 'names.txt'))
    with pytest.raises(InputError, match="'ant' begins with a byte order mark"):
        Runner.from_cfg(cfg).train()


def test_classes_without_images_are_named(tmp_path, caplog):
    folder = write_images(tmp_path / 'images')
    for path in (tmp_path / 'images').glob('bee/*'):
        path.unlink()
    runner = Runner.from_cfg(config(tmp_path / 'run', folder))
    with pytest.raises(ImageError):
        runner.train()
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert '1 of 3 classes have no training samples (bee)' in log


def test_swapped_sizes_of_a_detector(tmp_path):
    content = lvis_content()
    for image in content['images']:
        image['width'] = 48
    write_lvis(tmp_path / 'data', content)
    runner = Runner.from_cfg(detector_config(tmp_path / 'run', tmp_path / 'data'))
    with pytest.raises(ImageError, match=r'png has 64 x 64 pixels .* says 64 x 48'):
        runner.train()


def test_dropped_boxes_of_mmdet(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.lvis.print_log', lambda text, *_: lines.append(text))
    content = lvis_content()
    for image in content['images']:
        image['file_name'] = image['coco_url'].rsplit('/', 1)[1]
    content['annotations'][0]['area'] = 0
    content['annotations'].append(dict(content['annotations'][1], id=999, image_id=10**6))  # of a file of more images
    write_lvis(tmp_path, content)
    options = dataset_config(tmp_path, type='mmdet.CocoDataset', data_prefix=dict(img='train2017'))
    options['metainfo'] = dict(classes=('kite', 'ladder', 'mug', 'oar'))
    _check_boxes(DATASETS.build(options))
    assert len(lines) == 1 and '1 of area 0' in lines[0]
    _check_boxes(DATASETS.build(dict(options, test_mode=True)))
    assert len(lines) == 1


@pytest.mark.slow
def test_skip_broken_in_the_tools(tmp_path):
    folder = write_images(tmp_path / 'images')
    cfg = config(tmp_path / 'run', folder, num_workers=1)
    cfg.dump(tmp_path / 'cfg.py')
    run = run_tool('tools/train.py', tmp_path / 'cfg.py')
    assert run.returncode == 1 and '1.png cannot be read' in run.stderr and 'Traceback' not in run.stderr
    run = run_tool('tools/train.py', tmp_path / 'cfg.py', '--skip-broken', '3')
    assert run.returncode == 0, run.stderr
    assert 'cow/1.png' in run.stdout + run.stderr
    checkpoint = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=True)['state_dict']
    assert checkpoint['head.class_distribution.instance_counts'].tolist() == [5, 3, 1]
    run = run_tool('tools/test.py', tmp_path / 'cfg.py', tmp_path / 'run/epoch_1.pth', '--skip-broken', '3')
    assert run.returncode == 0, run.stderr


def test_hook_is_in_the_runtime():
    assert dict(type=f'ltmm.{DataCheckHook.__name__}') in toy_config('x').custom_hooks


def log_of_test(folder, **options):
    """Test an untrained detector by LVISMetric and CocoMetric; return the log."""
    cfg = detector_config(folder / 'work', folder / 'data', custom_hooks=[dict(type='ltmm.DataCheckHook')])
    cfg.test_dataloader.dataset.update(options)
    cfg.test_evaluator = [cfg.test_evaluator, dict(cfg.test_evaluator, type='mmdet.CocoMetric', metric='bbox')]
    Runner.from_cfg(cfg).test()
    return next((folder / 'work').rglob('*.log')).read_text()


@pytest.mark.parametrize('options, is_warned', [({}, False), (dict(indices=5), True)])
def test_coco_metric_of_more_images_than_are_tested(tmp_path, options, is_warned):
    write_lvis(tmp_path / 'data', coco_content())
    log = log_of_test(tmp_path, **options)
    assert ('CocoMetric counts the objects of all 8 images of its annotation file, but 5 images' in log) == is_warned


def test_coco_metric_of_other_labels(tmp_path):
    write_lvis(tmp_path / 'data', dict(coco_content(), categories=coco_content()['categories'][::-1]))
    with pytest.raises(InputError, match='file, oar, mug, ladder, ..., but those of the dataset are kite, ladder, mug'):
        log_of_test(tmp_path)
