import copy
import json
import pickle

import pytest
from mmdet.datasets import LVISV1Dataset
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import DefaultScope
from toy import ROOT
from toy_lvis import CATEGORY_IDS, CLASSES, dataset_config, lvis_content, write_lvis

from ltmm.class_distribution import ClassDistributionError
from ltmm.datasets import LabelTable, class_distribution_of
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError
from ltmm.datasets.lvis import LVISDataset
from ltmm.registry import DATASETS


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def content():
    return lvis_content()


def build(folder, content=None, **options) -> LVISDataset:
    if content is not None:
        write_lvis(folder, content)
    return DATASETS.build(dataset_config(folder, **options))


def labels_of(dataset) -> list[list[int]]:
    return [[i['bbox_label'] for i in dataset.get_data_info(n)['instances']] for n in range(len(dataset))]


# ------------------------------------------------------------------ what a sample is


@pytest.mark.parametrize(
    'options', [{}, dict(test_mode=True), dict(filter_cfg=dict(filter_empty_gt=True, min_size=32))]
)
def test_samples_are_those_of_mmdets_dataset(tmp_path, content, options):
    content['images'].append(dict(content['images'][0], id=99))  # without objects
    content['annotations'][3]['bbox'][2] = 0.5  # narrower than a pixel
    ours = build(tmp_path, content, serialize_data=False, **options)
    theirs = LVISV1Dataset(**{k: v for k, v in dataset_config(tmp_path, **options).items() if k != 'type'})
    assert ours.data_list == [
        {k: v for k, v in theirs.get_data_info(i).items() if k != 'sample_idx'} for i in range(len(theirs))
    ]
    assert len(ours) == 8 + ('filter_cfg' not in options)


@pytest.mark.skipif(not (ROOT / 'data/lvis_mini').is_dir(), reason='the 60-photo LVIS set is not in data/lvis_mini')
@pytest.mark.parametrize('split', ['train', 'val'])
def test_samples_of_real_photos_are_those_of_mmdets_dataset(split):
    options = dict(
        data_root=str(ROOT / 'data/lvis_mini'),
        ann_file=f'annotations/lvis_v1_{split}.json',
        data_prefix=dict(img=''),
        pipeline=[],
        serialize_data=False,
    )
    ours, theirs = LVISDataset(**options), LVISV1Dataset(**options)
    assert ours.data_list == theirs.data_list
    assert len(ours.metainfo['classes']) == 80


def test_labels_follow_the_order_of_the_ids_whatever_the_order_in_the_file(tmp_path, content):
    expected = labels_of(build(tmp_path / 'a', content))
    content['categories'].reverse()
    shuffled = build(tmp_path / 'b', content)
    assert shuffled.metainfo['classes'] == CLASSES
    assert shuffled.cat_ids == list(CATEGORY_IDS)
    assert labels_of(shuffled) == expected


def test_named_classes_are_the_labels_in_that_order_and_others_are_left_out(tmp_path, content):
    dataset = build(tmp_path, content, metainfo=dict(classes=('oar', 'kite')))
    assert labels_of(dataset)[0] == [1, 0]  # kite, oar
    assert class_distribution_of(dataset).instance_counts.tolist() == [1, 8]


def test_another_spelling_of_a_name_stands_for_the_category_in_its_place(tmp_path, content):
    dataset = build(tmp_path, content, metainfo=dict(classes=('kite', 'Ladder', 'mug', 'oar')))
    assert labels_of(dataset) == labels_of(build(tmp_path))
    with pytest.raises(AnnotationFileError, match="each once, but 'mug' is not"):
        build(tmp_path, metainfo=dict(classes=('kite', 'mug', 'Ladder', 'oar')))


def test_images_are_found_by_file_name_where_there_is_no_coco_url(tmp_path, content):
    for image in content['images']:
        image['file_name'] = image.pop('coco_url').rsplit('/', 1)[1]
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    write_lvis(tmp_path, content)
    dataset = build(tmp_path, data_prefix=dict(img='train2017'))
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'train2017/000000000010.png')


def test_class_names_are_known_to_a_lazily_built_dataset(tmp_path, content):
    assert build(tmp_path, content, lazy_init=True).metainfo['classes'] == CLASSES


# ------------------------------------------------------------------ labels


def naive_table(dataset):
    return LabelTable.from_lists(labels_of(dataset), len(CLASSES))


@pytest.mark.parametrize('options', [{}, dict(serialize_data=False), dict(indices=3), dict(indices=[5, 2])])
def test_label_table_is_that_of_a_pass_over_the_samples(tmp_path, content, options):
    dataset = build(tmp_path, content, **options)
    table, expected = dataset.get_label_table(), naive_table(dataset)
    assert table.labels.tolist() == expected.labels.tolist()
    assert table.offsets.tolist() == expected.offsets.tolist()
    assert class_distribution_of(dataset).class_names == CLASSES


def test_counting_unpickles_no_sample(tmp_path, content, monkeypatch):
    dataset = build(tmp_path, content)
    monkeypatch.setattr(pickle, 'loads', lambda *_: pytest.fail('a sample was unpickled'))
    assert class_distribution_of(dataset).image_counts[3] == 1


def test_label_table_follows_a_subset(tmp_path, content):
    dataset = build(tmp_path, content)
    expected = labels_of(dataset)[::-1]
    assert labels_of(dataset.get_subset(list(range(8))[::-1])) == expected
    dataset.get_subset_(list(range(8))[::-1])
    assert dataset.get_label_table().labels.tolist() == [label for labels in expected for label in labels]


def test_counts_go_through_class_balanced_dataset_and_before_repetition(tmp_path, content):
    write_lvis(tmp_path, content)
    repeated = ClassBalancedDataset(dataset_config(tmp_path), oversample_thr=0.9)
    assert len(repeated) > 8
    assert class_distribution_of(repeated) == class_distribution_of(repeated.dataset)


# ------------------------------------------------------------------ mistakes


def test_missing_annotation_file_says_where_lvis_comes_from(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotations.json does not exist.*lvisdataset.org.*LTMM_DATA_ROOT'):
        build(tmp_path)


@pytest.mark.parametrize('text', ['{"images": [{"id": 1, "wid', '<html>not found</html>', '', '\x00\xff'])
def test_truncated_or_other_file_is_named(tmp_path, text):
    (tmp_path / 'annotations.json').write_bytes(text.encode('latin-1'))
    with pytest.raises(AnnotationFileError, match=r'annotations.json is not a whole JSON file .*Fetch it again'):
        build(tmp_path)


BREAKAGES = [
    (lambda c: c.pop('images'), '`images` is missing or no list of dictionaries'),
    (
        lambda c: c['categories'].pop(),
        r"1 annotations whose 'category_id' is the id of none .* 'category_id': 9",
    ),
    (lambda c: c['images'].pop(0), r"2 annotations whose 'image_id' is the id of none .* 'image_id': 10"),
    (lambda c: c['images'].append(c['images'][4]), '1 ids of images that occur more than once, 14 first'),
    (lambda c: c['annotations'].append(c['annotations'][0]), '1 ids of annotations that occur more than once, 1 first'),
    (lambda c: c['categories'].append(dict(id=7, name='mug')), "names of categories that occur more than once, 'mug'"),
    (lambda c: c['annotations'][2].pop('bbox'), "1 annotations without the field 'bbox'"),
    (
        lambda c: c['annotations'][2].update(bbox=[1, 2]),
        r'1 annotations whose bbox is not four finite .*\[x, y, w, h\]',
    ),
    (lambda c: c['annotations'][2].update(bbox=[1, 2, 3, float('nan')]), '1 annotations whose bbox is not four finite'),
    (lambda c: c['annotations'][2].update(bbox=[1, 2, 3, '4']), '1 annotations whose bbox is not four finite'),
    (lambda c: c['annotations'][2].update(bbox=None), '1 annotations whose bbox is not four finite'),
    (lambda c: c['annotations'][2].update(area=None), '1 annotations whose area is no finite number of at least 0'),
    (lambda c: c['annotations'][2].update(area=-4), '1 annotations whose area is no finite number of at least 0'),
    (lambda c: c['annotations'][2].update(area=float('nan')), '1 annotations whose area is no finite number of at'),
    (lambda c: c['images'][1].update(neg_category_ids=None), "1 images whose 'neg_category_ids' is no list of categ"),
    (
        lambda c: c['images'][1].update(not_exhaustive_category_ids=['oar']),
        "1 images whose 'not_exhaustive_category_ids' is no list of category ids",
    ),
    (
        lambda c: c['images'][1]['neg_category_ids'].append(77),
        r"1 images whose 'neg_category_ids' lists the id of none of the categories; the first is .*'id': 11",
    ),
    (
        lambda c: c['images'][1].update(not_exhaustive_category_ids=[77]),
        "1 images whose 'not_exhaustive_category_ids' lists the id of none of the categories",
    ),
    (lambda c: c.update(categories=[], annotations=[]), 'has no categories: `categories`, the list of its classes'),
    (lambda c: c.update(images=[], annotations=[]), 'annotations.json holds no image that can be kept. It has none'),
    (lambda c: c['images'][1].pop('coco_url'), "1 images without the field 'coco_url' or 'file_name'"),
    (lambda c: c.update(annotations=[5]), '`annotations` is missing or no list of dictionaries'),
]


@pytest.mark.parametrize('breakage, message', BREAKAGES)
def test_a_broken_file_is_refused_with_the_first_culprit(tmp_path, content, breakage, message):
    broken = copy.deepcopy(content)
    breakage(broken)
    (tmp_path / 'annotations.json').write_text(json.dumps(broken))
    with pytest.raises(AnnotationFileError, match=message):
        build(tmp_path)


def test_masks_are_looked_at_where_they_are_loaded(tmp_path, content):
    load = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    content['annotations'][1]['segmentation'] = dict(size=[64, 64], counts=[3, 5])
    build(tmp_path, content)
    with pytest.raises(AnnotationFileError, match='the mask of annotation 2 has run lengths of 8 pixels in all, but'):
        build(tmp_path, pipeline=load)
    del content['annotations'][1]['segmentation']
    with pytest.raises(AnnotationFileError, match="1 annotations without the field 'segmentation', which masks need"):
        build(tmp_path, content, pipeline=load)


@pytest.mark.parametrize('size', [[0, 5], [5, 0], [-3, 5], [5, -3], [0.5, 5]])
def test_degenerate_boxes_are_no_samples_and_do_not_count(tmp_path, content, size):
    content['annotations'][0]['bbox'][2:] = size  # the first of eight kites
    dataset = build(tmp_path, content)
    assert labels_of(dataset)[0] == [3]
    assert class_distribution_of(dataset).instance_counts.tolist()[0] == 7


def test_classes_without_a_box_and_images_without_annotations(tmp_path, content):
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] != 10]  # the only oar
    distribution = class_distribution_of(build(tmp_path, content))
    assert distribution.instance_counts[3] == 0 and distribution.class_names == CLASSES
    assert distribution.num_images == 7 and len(build(tmp_path)) == 8
    assert len(build(tmp_path, filter_cfg=dict(filter_empty_gt=True))) == 7


def test_a_file_without_annotations_cannot_be_counted(tmp_path, content):
    dataset = build(tmp_path, dict(content, annotations=[]))
    assert labels_of(dataset) == [[]] * 8
    with pytest.raises(ClassDistributionError, match='to hold at least one sample, but all 4 are zero'):
        class_distribution_of(dataset)


def test_a_filter_that_keeps_no_image_is_refused(tmp_path, content):
    message = r"holds no image that can be kept. 8 are not by \{'filter_empty_gt': True\}"
    with pytest.raises(AnnotationFileError, match=message):
        build(tmp_path, dict(content, annotations=[]), filter_cfg=dict(filter_empty_gt=True))


def test_a_list_instead_of_a_dictionary_is_refused(tmp_path):
    (tmp_path / 'annotations.json').write_text('[]')
    with pytest.raises(AnnotationFileError, match='Expected .* to be a dictionary with lists of images'):
        build(tmp_path)


def test_an_unknown_class_name_is_refused(tmp_path, content):
    with pytest.raises(AnnotationFileError, match=r"each once, but 'boat' is not. The file has 4 cat"):
        build(tmp_path, content, metainfo=dict(classes=['kite', 'boat']))


def test_missing_images_are_counted_and_the_first_is_named(tmp_path, content):
    write_lvis(tmp_path, content)
    for image_id in (12, 15):
        (tmp_path / f'train2017/{image_id:012}.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of the 8 images of .* missing, .*000000000012.png first'):
        build(tmp_path)
    assert len(build(tmp_path, check_files=False)) == 8
    assert len(build(tmp_path, indices=2)) == 2  # the missing ones are not asked for


def test_a_missing_folder_is_all_images_missing(tmp_path, content):
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    with pytest.raises(FileNotFoundError, match='8 of the 8 images'):
        build(tmp_path)
