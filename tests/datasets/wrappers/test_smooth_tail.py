import json

import pytest
from mmengine.registry import DefaultScope
from toy_lvis import CATEGORY_IDS, CLASSES, dataset_config, lvis_content, write_lvis

from ltmm.datasets import LabelTable, class_distribution_of
from ltmm.datasets.wrappers.exemplars import ExemplarFileError, Exemplars
from ltmm.registry import DATA_SAMPLERS, DATASETS

BOUNDS = (1, 3)  # kite is in 8 images, ladder in 1, mug in 4, oar in 1


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def all_exemplars(content, max_per_class=10):
    """All annotations of each class, the last first."""
    ids = {cat: [a['id'] for a in content['annotations'] if a['category_id'] == cat][::-1] for cat in CATEGORY_IDS}
    return Exemplars(ids, {cat: [0.5] * len(ids[cat]) for cat in ids}, max_per_class)


def build(folder, content, per_class, exemplars=None, **options):
    write_lvis(folder, content)
    exemplars = exemplars or all_exemplars(content)
    names = {cat: name for cat, name in zip(CATEGORY_IDS, CLASSES) if cat in exemplars.annotation_ids}
    exemplars.write(folder / 'exemplars.json', names)
    settings = dict(exemplar_file=str(folder / 'exemplars.json'), exemplars_per_class=per_class, group_bounds=BOUNDS)
    return DATASETS.build(dataset_config(folder, **{**settings, 'type': 'ltmm.SmoothTailDataset', **options}))


def kept(content, per_class):
    """Return {image: its kept annotations}."""
    images = {cat: {a['image_id'] for a in content['annotations'] if a['category_id'] == cat} for cat in CATEGORY_IDS}
    result = {}
    for cat in CATEGORY_IDS:
        number = per_class[sum(len(images[cat]) > bound for bound in BOUNDS)]
        own = [a for a in content['annotations'] if a['category_id'] == cat]
        for annotation in own if number is None else own[::-1][:number]:
            result.setdefault(annotation['image_id'], []).append(annotation)
    return result


@pytest.mark.parametrize('per_class', [(None, 2, 3), (None, None, 1), (1, 1, 1), (None, None, None)])
def test_kept_annotations(tmp_path, per_class):
    content = lvis_content()
    dataset, expected = build(tmp_path, content, per_class), kept(content, per_class)
    images = [image['id'] for image in content['images'] if image['id'] in expected]
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == images
    for i, image in enumerate(images):
        instances = dataset.get_data_info(i)['instances']
        own = sorted(expected[image], key=lambda annotation: annotation['id'])
        assert [CATEGORY_IDS[x['bbox_label']] for x in instances] == [a['category_id'] for a in own]
        assert [x['mask'] for x in instances] == [a['segmentation'] for a in own]


def test_class_distribution_and_sampler(tmp_path):
    content = lvis_content()
    dataset = build(tmp_path, content, (None, 2, 2))
    whole = class_distribution_of(DATASETS.build(dataset_config(tmp_path)))
    assert class_distribution_of(dataset) == whole
    assert whole.class_names == CLASSES
    table = LabelTable.from_dataset(dataset)
    assert len(table) == len(dataset)
    assert table.class_distribution().instance_counts.tolist() == [2, 1, 2, 1]
    sampler = dict(type='ltmm.RepeatFactorSampler', threshold=1.0, power=(1, 0, 0), group_bounds=BOUNDS)
    factors = DATA_SAMPLERS.build(dict(sampler, dataset=dataset, seed=0)).repeat_factors
    rare = [1 in row or 3 in row for row in (table.labels[a:b] for a, b in zip(table.offsets, table.offsets[1:]))]
    assert factors.tolist() == [len(dataset) if is_rare else 1 for is_rare in rare]


def test_empty_class(tmp_path):
    content = lvis_content()
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] != 6]
    dataset = build(tmp_path, content, (None, 2, 2))
    assert dataset.metainfo['classes'] == CLASSES
    assert class_distribution_of(dataset).empty_classes.tolist() == [2]


def test_crowd_regions_are_dropped(tmp_path):
    content = lvis_content()
    oar = next(a for a in content['annotations'] if a['category_id'] == 9)
    oar['iscrowd'] = 1
    exemplars = all_exemplars(content)
    exemplars.annotation_ids[9].clear()
    dataset = build(tmp_path, content, (None, 2, 2), exemplars)
    assert LabelTable.from_dataset(dataset).class_distribution().instance_counts.tolist()[3] == 0


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda ids: ids[2].__setitem__(0, 777), 'annotation 777 is not a training box of category 2'),
        (lambda ids: ids[2].append(ids[9][0]), 'annotation 2 is not a training box of category 2'),
        (lambda ids: ids.pop(6), 'annotations.json: category 6 is missing'),
    ],
)
def test_exemplars_of_other_data(tmp_path, change, message):
    exemplars = all_exemplars(lvis_content())
    change(exemplars.annotation_ids)
    with pytest.raises(ExemplarFileError, match=message):
        build(tmp_path, lvis_content(), (None, 2, 2), exemplars)


def test_too_few_exemplars(tmp_path):
    with pytest.raises(ExemplarFileError, match='at most 10 exemplars per class, but 20'):
        build(tmp_path, lvis_content(), (None, 2, 20))


@pytest.mark.parametrize('per_class, message', [((None, 2), '3 in all, but got 2'), ((None, 2, 0), 'but got 0')])
def test_invalid_exemplars_per_class(tmp_path, per_class, message):
    with pytest.raises(ValueError, match=f'`exemplars_per_class`.*{message}'):
        build(tmp_path, lvis_content(), per_class)


def test_missing_exemplar_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.json'):
        build(tmp_path, lvis_content(), (1, 1, 1), exemplar_file='gone.json')


def test_string_ids(tmp_path):
    content = json.loads(json.dumps(lvis_content()))
    for annotation in content['annotations']:
        annotation['id'] = f'box {annotation["id"]}'
    assert len(build(tmp_path, content, (None, 2, 2))) >= 2
