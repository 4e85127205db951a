import gc
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from toy_lvis import lvis_content

from ltmm.datasets.annotations import UncacheableError, iterate_blocks, load_annotations
from ltmm.datasets.annotations.cache import cache_folder
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError
from ltmm.utils.errors import InputError


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv('LTMM_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'data' / 'annotations.json'
    path.parent.mkdir()
    path.write_text(json.dumps(lvis_content()))
    return path


def boxes_of(file) -> list:
    return load_annotations(file).box.tolist()


@pytest.mark.parametrize('block', [1, 100, 10**6])
@pytest.mark.parametrize('indent', [None, 1])
def test_blocks(tmp_path, block, indent):
    tricky = [dict(id=i, name='"}], "a": [{', parts=[dict(a='}, {'), dict(b=[[1.5, -2]])]) for i in range(5)]
    content = dict(
        info=dict(year=[1, dict(a=2)], text='}, {'), empty=[], records=tricky, plain=[1, 2], last=[dict(a=1)]
    )
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content, indent=indent))
    read = {}
    for key, items in iterate_blocks(path, block):
        read.setdefault(key, []).extend(items)
    assert read == dict(records=content['records'], last=content['last'])


@pytest.mark.parametrize('block', [1, 300, 10**6])
@pytest.mark.parametrize('indent', [None, 1])
def test_polygons_stay_texts(tmp_path, block, indent):
    polygons = [[[1, 2.5, -3]], [[0.25], []], [[12.5, 7], [3, 4]]]
    parsed = [[], [1, 2], [[[1]]], [[1e-7]], [['1']], dict(counts=[[1]]), None, True, 'a "segmentation": [[1]]']
    records = [dict(segmentation=mask, name='segmentation') for mask in polygons + parsed]
    nested = [dict(a=dict(segmentation=[[1]])), {'"segmentation': [[1]]}, dict(segmentation=True)]
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(first=records, second=nested), indent=indent))
    read = {'first': [], 'second': []}
    for key, items in iterate_blocks(path, block):
        read[key] += items
    masks = [item['segmentation'] for item in read['first']]
    assert all(isinstance(mask, bytes) for mask in masks[: len(polygons)])
    assert [json.loads(mask) for mask in masks[: len(polygons)]] == polygons
    assert masks[len(polygons) :] == parsed
    assert read['second'] == nested


@pytest.mark.parametrize('text', ['a }, {', 'Zürich 北京'])
def test_long_value_of_another_type(tmp_path, text):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(dict(a=[text] * 50_000, b=[dict(id=1)]), ensure_ascii=False), encoding='utf-8')
    assert list(iterate_blocks(path)) == [('b', [dict(id=1)])]


@pytest.mark.parametrize('length', [0, 1, 30, 300, -1])
def test_truncated_file(file, length):
    text = file.read_text()
    file.write_text(text[:length])
    with pytest.raises(ValueError):
        list(iterate_blocks(file, 100))
    with pytest.raises(InputError, match=r'truncated or not a JSON file'):
        load_annotations(file)
    assert not [path for path in (cache_folder() / 'annotations').iterdir() if path.is_dir()]


def test_second_start_reads_the_cache(file, monkeypatch):
    first = load_annotations(file)
    monkeypatch.setattr('ltmm.datasets.annotations.cache._build', None)
    second = load_annotations(file)
    assert second.folder == first.folder
    assert isinstance(second.box, np.memmap) and not second.box.flags.writeable
    assert [path.name for path in file.parent.iterdir()] == ['annotations.json']  # nothing beside the data


def test_changed_file_of_the_same_size_and_time(file):
    before, stat = boxes_of(file), file.stat()
    content = lvis_content()
    x = content['annotations'][0]['bbox'][0]
    content['annotations'][0]['bbox'][0] = x - 1 if x % 10 else x + 1
    file.write_text(json.dumps(content))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size and file.stat().st_mtime_ns == stat.st_mtime_ns
    assert boxes_of(file) != before


@pytest.mark.parametrize('name', ['box', 'mask_json', 'meta.json'])
def test_truncated_cache_is_built_again(file, name, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.annotations.cache.print_log', lambda text, *_: lines.append(text))
    annotations = load_annotations(file)
    expected = annotations.box.tolist()
    os.truncate(annotations.folder / name, 3)
    assert boxes_of(file) == expected
    written = f'Writing the annotations of {file} to the cache {annotations.folder}.'
    assert lines == [written, f'{annotations.folder} is incomplete; it is built again.', written]


def test_failed_build_leaves_nothing(file, monkeypatch):
    def full(*args) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('ltmm.datasets.annotations.columns._link', full)
    with pytest.raises(OSError, match='No space left'):
        load_annotations(file)
    assert not [path for path in (cache_folder() / 'annotations').iterdir() if path.is_dir()]
    assert gc.isenabled()
    monkeypatch.undo()
    assert len(load_annotations(file, file.parent / 'cache')) == 8


def test_folder_of_a_killed_build_is_removed(file):
    folder = load_annotations(file).folder
    left, other = folder.with_name(f'.{folder.name[:16]}-left'), folder.with_name('.0123-other')
    left.mkdir(), other.mkdir()
    (folder / 'meta.json').unlink()
    load_annotations(file)
    assert not left.exists() and other.exists()


@pytest.mark.slow
def test_two_processes_build_one_cache(file):
    code = f'from ltmm.datasets.annotations import load_annotations as f; print(f({str(file)!r}).box.sum())'
    processes = [subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0].splitlines() for process in processes]
    assert {lines[-1] for lines in said} == {str(load_annotations(file).box.sum())}
    assert sum('Writing the annotations' in line for lines in said for line in lines) == 1
    assert len([path for path in (cache_folder() / 'annotations').iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(
    ('part', 'change', 'message'),
    [
        ('images', lambda r: r.pop('width'), "images without the field 'width'"),
        ('images', lambda r: r.update(neg_category_ids=[77]), 'lists an id that is not in `categories`'),
        ('annotations', lambda r: r.update(category_id=77), "'category_id' is not in `categories`"),
        ('annotations', lambda r: r.update(image_id=77), "'image_id' is not in `images`"),
        ('annotations', lambda r: r.update(id=2), 'duplicate ids of annotations'),
        ('annotations', lambda r: r.update(bbox=[1, 2, '3', 4]), 'not four finite numbers'),
        ('annotations', lambda r: r.update(bbox=[1, 2, 3]), 'not four finite numbers'),
        ('annotations', lambda r: r.update(area=-1), 'not a finite number >= 0'),
        ('categories', lambda r: r.pop('name'), "categories without the field 'name'"),
    ],
)
def test_invalid_records(file, part, change, message):
    content = lvis_content()
    change(content[part][0])
    file.write_text(json.dumps(content))
    with pytest.raises(AnnotationFileError, match=message):
        load_annotations(file)


@pytest.mark.parametrize(
    ('polygons', 'problem'),
    [
        ([[1, 2, 999999.99, 4]], None),
        ([[1, 2, -0.123456789, 4]], None),
        ([[1, 2, 3, 1000000]], 'below 1000000'),
        ([[1, 2, -1234567.5, 4]], 'below 1000000'),
        ([[1, 2, 3e7, 4]], 'below 1000000'),
        ([1, 2, 3, 4], 'not a list of finite numbers'),
        ([[[1, 2, 3, 4]]], 'not a list of finite numbers'),
        ([[1, 2, '3', 4]], 'not a list of finite numbers'),
    ],
)
def test_polygons(file, polygons, problem):
    content = lvis_content()
    content['annotations'][1].update(segmentation=polygons, image_id=content['images'][-1]['id'])
    file.write_text(json.dumps(content))
    annotations = load_annotations(file)
    invalid = annotations.meta['invalid_mask']
    assert invalid == problem if problem is None else invalid[0] == content['annotations'][1]['id']
    assert problem is None or problem in invalid[1]
    assert polygons in [record['segmentation'] for record in annotations.object_records(len(annotations) - 1)]


def test_malformed_number_of_polygon(file):
    content = lvis_content()
    content['annotations'] = [dict(content['annotations'][0], segmentation=[[1, 2, 3]])]
    file.write_text(json.dumps(content).replace('[[1, 2, 3]]', '[[1, 2..5, 3]]'))
    annotations = load_annotations(file)
    with pytest.raises(InputError, match='is invalid json from byte 0 .* copied from the annotation file'):
        annotations.object_records(int(annotations.image[0]))


def test_home_that_does_not_exist(file, monkeypatch):
    monkeypatch.setenv('LTMM_CACHE', '~nobody_of_this_name/cache')
    match = '~nobody_of_this_name/cache, is in a home directory that does not exist: set `cache_dir` or LTMM_CACHE'
    with pytest.raises(UncacheableError, match=match):
        load_annotations(file)


def test_unusual_files(file):
    content = lvis_content()
    expected = boxes_of(file)
    file.write_text(json.dumps(content), encoding='utf-8-sig')
    assert boxes_of(file) == expected
    content['annotations'] = []
    file.write_text(json.dumps(content))
    with pytest.raises(UncacheableError, match='missing or empty'):
        load_annotations(file)
