import copy
import json

import pytest
from mmengine.registry import DefaultScope
from toy_lvis import CATEGORY_IDS, CLASSES, dataset_config, lvis_content, write_lvis

from ltmm.datasets import LabelTable, class_distribution_of
from ltmm.datasets.wrappers.exemplars import ExemplarFileError, Exemplars
from ltmm.registry import DATA_SAMPLERS, DATASETS

BOUNDS = (1, 3)  # of kite in 8 images, ladder in 1, mug in 4, oar in 1


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def all_exemplars(content, max_per_class=10):
    """Every annotation of each class, the last of the file first."""
    ids = {cat: [a['id'] for a in content['annotations'] if a['category_id'] == cat][::-1] for cat in CATEGORY_IDS}
    return Exemplars(ids, {cat: [0.5] * len(ids[cat]) for cat in ids}, max_per_class)


def build(folder, content, per_class, exemplars=None, **options):
    write_lvis(folder, content)
    (exemplars or all_exemplars(content)).write(folder / 'exemplars.json', dict(zip(CATEGORY_IDS, CLASSES)))
    settings = dict(exemplar_file=str(folder / 'exemplars.json'), exemplars_per_class=per_class, group_bounds=BOUNDS)
    return DATASETS.build(dataset_config(folder, **{**settings, 'type': 'ltmm.SmoothTailDataset', **options}))


def kept(content, per_class):
    """{image: its kept annotations}, by loops."""
    images = {cat: {a['image_id'] for a in content['annotations'] if a['category_id'] == cat} for cat in CATEGORY_IDS}
    result = {}
    for cat in CATEGORY_IDS:
        number = per_class[sum(len(images[cat]) > bound for bound in BOUNDS)]
        own = [a for a in content['annotations'] if a['category_id'] == cat]
        for annotation in own if number is None else own[::-1][:number]:
            result.setdefault(annotation['image_id'], []).append(annotation)
    return result


@pytest.mark.parametrize('per_class', [(None, 2, 3), (None, None, 1), (1, 1, 1), (None, None, None)])
def test_keeps_the_exemplars_each_group_has_a_right_to_and_their_images(tmp_path, per_class):
    content = lvis_content()
    dataset, expected = build(tmp_path, content, per_class), kept(content, per_class)
    images = [image['id'] for image in content['images'] if image['id'] in expected]
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == images
    for i, image in enumerate(images):
        instances = dataset.get_data_info(i)['instances']
        own = sorted(expected[image], key=lambda annotation: annotation['id'])
        assert [CATEGORY_IDS[x['bbox_label']] for x in instances] == [a['category_id'] for a in own]
        assert [x['mask'] for x in instances] == [a['segmentation'] for a in own]


def test_who_is_frequent_is_told_from_all_images_and_samplers_see_what_is_kept(tmp_path):
    content = lvis_content()
    whole = class_distribution_of(DATASETS.build(dataset_config(_written(tmp_path / 'all', content))))
    dataset = build(tmp_path, content, (None, 2, 2))
    assert class_distribution_of(dataset) == whole
    assert whole.class_names == CLASSES
    table = LabelTable.from_dataset(dataset)
    assert len(table) == len(dataset)
    assert table.class_distribution().instance_counts.tolist() == [2, 1, 2, 1]
    sampler = dict(type='ltmm.RepeatFactorSampler', threshold=1.0, power=(1, 0, 0), group_bounds=BOUNDS)
    factors = DATA_SAMPLERS.build(dict(sampler, dataset=dataset, seed=0)).repeat_factors
    rare = [1 in row or 3 in row for row in (table.labels[a:b] for a, b in zip(table.offsets, table.offsets[1:]))]
    assert factors.tolist() == [len(dataset) if is_rare else 1 for is_rare in rare]


def _written(folder, content):
    write_lvis(folder, content)
    return folder


def test_a_class_without_a_box_stays_in_its_place(tmp_path):
    content = lvis_content()
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] != 6]
    dataset = build(tmp_path, content, (None, 2, 2))
    assert dataset.metainfo['classes'] == CLASSES
    assert class_distribution_of(dataset).empty_classes.tolist() == [2]


def test_crowds_and_boxes_without_area_are_never_kept(tmp_path):
    content = lvis_content()
    oar = next(a for a in content['annotations'] if a['category_id'] == 9)
    oar['iscrowd'] = 1
    exemplars = all_exemplars(content)
    exemplars.annotation_ids[9].clear()
    dataset = build(tmp_path, content, (None, 2, 2), exemplars)
    assert LabelTable.from_dataset(dataset).class_distribution().instance_counts.tolist()[3] == 0


def test_exemplars_of_other_annotations_are_refused(tmp_path):
    content = lvis_content()
    exemplars = all_exemplars(content)
    exemplars.annotation_ids[2][0] = 777
    message = (
        r'is not of .*annotations.json: it names 1 annotations, 777 as one of category 2 first.*Mine the exemplars'
    )
    with pytest.raises(ExemplarFileError, match=message):
        build(tmp_path, content, (None, 2, 2), exemplars)


def test_exemplars_under_another_category_are_refused(tmp_path):
    content = lvis_content()
    exemplars = all_exemplars(content)
    exemplars.annotation_ids[2].append(exemplars.annotation_ids[9][0])
    with pytest.raises(
        ExemplarFileError, match='names 1 annotations, 2 as one of category 2 first, that are not there'
    ):
        build(tmp_path, content, (None, 2, 2), exemplars)


def test_exemplars_of_other_categories_are_refused(tmp_path):
    content = lvis_content()
    other = copy.deepcopy(content)
    exemplars = all_exemplars(content)
    write_lvis(tmp_path, other)
    exemplars.write(tmp_path / 'exemplars.json', dict(zip(CATEGORY_IDS[:2], CLASSES[:2])))
    config = dict(
        type='ltmm.SmoothTailDataset',
        exemplar_file=str(tmp_path / 'exemplars.json'),
        exemplars_per_class=(None, 2, 2),
        group_bounds=BOUNDS,
    )
    with pytest.raises(ExemplarFileError, match='it has no category 6, and 1 more are missing'):
        DATASETS.build(dataset_config(tmp_path, **config))


def test_more_exemplars_than_were_kept_are_refused(tmp_path):
    content = lvis_content()
    with pytest.raises(ExemplarFileError, match='to hold 20 exemplars a class, but it was cut to 10. Mine again'):
        build(tmp_path, content, (None, 2, 20))


@pytest.mark.parametrize(
    'per_class, message',
    [
        ((None, 2), r'to have 3 entries for the groups between group_bounds=\(1, 3\), but got 2'),
        ((None, 2, 0), r'numbers of at least 1, or None for all, but got \(None, 2, 0\)'),
    ],
)
def test_wrong_sizes_are_refused(tmp_path, per_class, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, lvis_content(), per_class)


def test_the_exemplar_file_has_to_be_there(tmp_path):
    content = lvis_content()
    write_lvis(tmp_path, content)
    config = dict(type='ltmm.SmoothTailDataset', exemplar_file='gone.json', exemplars_per_class=(1, 1, 1, 1))
    with pytest.raises(FileNotFoundError, match='Exemplar file gone.json does not exist'):
        DATASETS.build(dataset_config(tmp_path, **config))


def test_ids_may_be_text(tmp_path):
    content = json.loads(json.dumps(lvis_content()))
    for annotation in content['annotations']:
        annotation['id'] = f'box {annotation["id"]}'
    assert len(build(tmp_path, content, (None, 2, 2))) >= 2
