import copy
import json
import pickle

import numpy as np
import pytest
from mmdet.datasets import LVISV1Dataset
from mmengine.registry import DefaultScope
from toy import ROOT
from toy_lvis import SIZE, dataset_config, lvis_content, write_lvis

from ltmm.datasets import class_distribution_of
from ltmm.datasets.cached_lvis import CachedLVISDataset
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

MASKS = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


@pytest.fixture(autouse=True)
def in_scope_mmdet(tmp_path, monkeypatch):
    monkeypatch.setenv('LTMM_CACHE', str(tmp_path / 'cache'))
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def content():
    """Objects out of the order of the images; some that mmdet drops, a crowd region and a run-length code."""
    content = lvis_content()
    content['images'].append(dict(content['images'][0], id=99))  # without objects
    objects = content['annotations']
    objects[3]['bbox'][2] = 0.5
    objects[1]['area'] = 0
    objects[4]['bbox'][:2] = [SIZE, 3]
    objects[5].update(iscrowd=1, segmentation=dict(size=[SIZE, SIZE], counts=[100, SIZE**2 - 100]))
    objects[6]['ignore'] = 1
    del objects[7]['segmentation']
    content['annotations'] = objects[::-2] + objects[-2::-2]
    return content


def pair(folder, **options):
    config = dataset_config(folder, **options)
    return DATASETS.build(dict(config, type='ltmm.CachedLVISDataset')), DATASETS.build(config)


def records(dataset) -> list[dict]:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(test_mode=True),
        dict(filter_cfg=dict(filter_empty_gt=True, min_size=32)),
        dict(metainfo=dict(classes=('oar', 'kite')), filter_cfg=dict(filter_empty_gt=True)),
        dict(indices=3),
        dict(indices=[5, 1]),
    ],
)
def test_samples_equal_lvis_dataset(tmp_path, content, options):
    write_lvis(tmp_path, content)
    cached, plain = pair(tmp_path, **options)
    assert cached._annotations is not None
    assert records(cached) == records(plain)
    assert cached.metainfo == plain.metainfo
    assert cached.cat_ids == plain.cat_ids
    ours, theirs = cached.get_label_table(), plain.get_label_table()
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    assert class_distribution_of(cached).num_images == class_distribution_of(plain).num_images


@pytest.mark.parametrize('name', ['lvis_mini/annotations/lvis_v1_train.json', 'lvis_mini/annotations/lvis_v1_val.json'])
def test_real_samples_equal_mmdet(name):
    if not (ROOT / 'data' / name).is_file():
        pytest.skip(f'no data/{name}')
    options = dict(ann_file=str(ROOT / 'data' / name), data_prefix=dict(img=''), pipeline=[])
    cached = CachedLVISDataset(check_files=False, **options)
    theirs = LVISV1Dataset(**options, metainfo=dict(classes=cached.metainfo['classes']))
    assert records(cached) == records(theirs)


def test_subsets_and_copies(tmp_path, content):
    write_lvis(tmp_path, content)
    cached, plain = pair(tmp_path)
    for indices in (4, -2, [6, 0, 6]):
        ours, theirs = cached.get_subset(indices), plain.get_subset(indices)
        assert records(ours) == records(theirs)
        np.testing.assert_array_equal(ours.get_label_table().labels, theirs.get_label_table().labels)
    dumped = pickle.dumps(cached._annotations)
    assert len(dumped) < 500  # a path: workers map the same files
    assert records(copy.deepcopy(cached)) == records(pickle.loads(pickle.dumps(cached))) == records(plain)
    cached.get_subset_([2])
    assert len(cached) == 1 and cached[-1]['sample_idx'] == 0


def test_warns_of_dropped_boxes(tmp_path, content, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.lvis.print_log', lambda text, *_: lines.append(text))
    write_lvis(tmp_path, content)
    pair(tmp_path)
    lines = [line for line in lines if '3 of 13 objects are dropped' in line]
    assert len(lines) == 2  # of both data sets
    for reason in ('1 of area 0', '1 less than a pixel wide or high', '1 outside their image'):
        assert all(reason in line for line in lines)


def test_masks_are_checked_if_loaded(tmp_path, content):
    write_lvis(tmp_path, content)
    with pytest.raises(AnnotationFileError, match='the mask of annotation 8 is missing'):
        pair(tmp_path, pipeline=MASKS)
    content['annotations'] = [ann for ann in content['annotations'] if 'segmentation' in ann]
    write_lvis(tmp_path, content)
    pair(tmp_path, pipeline=MASKS)
    code = next(ann for ann in content['annotations'] if isinstance(ann['segmentation'], dict))
    code['segmentation']['counts'] = [7]
    write_lvis(tmp_path, content)
    with pytest.raises(AnnotationFileError, match=f'annotation {code["id"]} has run lengths of 7 pixels'):
        pair(tmp_path, pipeline=MASKS)


def test_loads_without_cache_where_there_can_be_none(tmp_path, content, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.cached_lvis.print_log', lambda text, *_: lines.append(text))
    for record in content['images'] + content['annotations']:
        key = 'image_id' if 'image_id' in record else 'id'
        record[key] = str(record[key])
    write_lvis(tmp_path, lvis_content())  # the images
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    cached, plain = pair(tmp_path, check_files=False)
    assert cached._annotations is None and records(cached) == records(plain)
    assert len(lines) == 1 and 'is not cached' in lines[0] and 'LTMM_CACHE' not in lines[0]

    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('LTMM_CACHE', str(tmp_path / 'file'))  # cannot be written
    write_lvis(tmp_path, lvis_content())
    cached, plain = pair(tmp_path)
    assert records(cached) == records(plain)
    assert len(lines) == 2 and lines[1].endswith('Set `cache_dir` or LTMM_CACHE to a writable folder.')

    monkeypatch.setenv('LTMM_CACHE', '~nobody_of_this_name')
    cached, plain = pair(tmp_path)
    assert records(cached) == records(plain)
    assert len(lines) == 3 and 'set `cache_dir` or LTMM_CACHE' in lines[2]


def test_labels_are_computed_once(tmp_path, content, monkeypatch):
    calls, compute = [], CachedLVISDataset._read_labels
    monkeypatch.setattr(CachedLVISDataset, '_read_labels', lambda self: calls.append(1) or compute(self))
    write_lvis(tmp_path, content)
    cached, _ = pair(tmp_path, filter_cfg=dict(filter_empty_gt=True))
    cached.get_label_table()
    assert len(calls) == 1


def test_invalid_options(tmp_path, content):
    write_lvis(tmp_path, content)
    with pytest.raises(InputError, match='proposal_file'):
        pair(tmp_path, proposal_file='x.pkl')
    with pytest.raises(AnnotationFileError, match='No image is left'):
        pair(tmp_path, filter_cfg=dict(min_size=SIZE + 1))
    with pytest.raises(FileNotFoundError, match='nothing.json does not exist'):
        pair(tmp_path, ann_file='nothing.json')
