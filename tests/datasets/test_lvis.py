import json
import pickle

import pytest
import torch
from mmdet.datasets import LVISV1Dataset
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import DefaultScope
from toy import ROOT
from toy_lvis import CATEGORY_IDS, CLASSES, dataset_config, lvis_content, write_lvis

from ltmm.class_distribution import ClassDistributionError
from ltmm.datasets import LabelTable, class_distribution_of
from ltmm.datasets.labels.lvis_annotations import RENAMED, AnnotationFileError
from ltmm.datasets.lvis import LVISDataset
from ltmm.evaluation.metrics.lvis_metric import LVISMetric
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError


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


@pytest.mark.parametrize(
    'options', [{}, dict(test_mode=True), dict(filter_cfg=dict(filter_empty_gt=True, min_size=32))]
)
def test_samples_equal_mmdet(tmp_path, content, options):
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
def test_real_samples_equal_mmdet(split):
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


def test_labels_follow_the_ids(tmp_path, content):
    expected = labels_of(build(tmp_path / 'a', content))
    content['categories'].reverse()
    shuffled = build(tmp_path / 'b', content)
    assert shuffled.metainfo['classes'] == CLASSES
    assert shuffled.cat_ids == list(CATEGORY_IDS)
    assert labels_of(shuffled) == expected


def test_metainfo_selects_classes(tmp_path, content):
    dataset = build(tmp_path, content, metainfo=dict(classes=('oar', 'kite')))
    assert labels_of(dataset)[0] == [1, 0]  # kite, oar
    assert class_distribution_of(dataset).instance_counts.tolist() == [1, 8]


def test_names_are_not_guessed(tmp_path, content):
    for classes, message in (
        (('oar', 'mug', 'Kite', 'ladder'), r"got 'Kite'\. Did you mean kite\?"),  # never the mug, the third category
        (('kite', 'mug', 'mug'), "got 'mug' twice"),
    ):
        with pytest.raises(AnnotationFileError, match=message):
            build(tmp_path, content, metainfo=dict(classes=classes))


def test_name_that_mmdet_spells_in_another_way(tmp_path, content):
    content['categories'][1]['name'] = 'speaker_(stero_equipment)'
    classes = ('oar', 'speaker_(stereo_equipment)')
    assert build(tmp_path, content, metainfo=dict(classes=classes)).cat_ids == [CATEGORY_IDS[3], CATEGORY_IDS[1]]
    assert set(RENAMED) <= set(LVISV1Dataset.METAINFO['classes'])


def test_file_name_without_coco_url(tmp_path, content):
    for image in content['images']:
        image['file_name'] = image.pop('coco_url').rsplit('/', 1)[1]
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    write_lvis(tmp_path, content)
    dataset = build(tmp_path, data_prefix=dict(img='train2017'))
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'train2017/000000000010.png')


def test_lazy_init_knows_the_classes(tmp_path, content):
    assert build(tmp_path, content, lazy_init=True).metainfo['classes'] == CLASSES


@pytest.mark.parametrize('options', [{}, dict(serialize_data=False), dict(indices=3), dict(indices=[5, 2])])
def test_label_table(tmp_path, content, options):
    dataset = build(tmp_path, content, **options)
    table, expected = dataset.get_label_table(), LabelTable.from_lists(labels_of(dataset), len(CLASSES))
    assert table.labels.tolist() == expected.labels.tolist()
    assert table.offsets.tolist() == expected.offsets.tolist()
    assert class_distribution_of(dataset).class_names == CLASSES


def test_counting_reads_no_sample(tmp_path, content, monkeypatch):
    dataset = build(tmp_path, content)
    monkeypatch.setattr(pickle, 'loads', lambda *_: pytest.fail('a sample was unpickled'))
    assert class_distribution_of(dataset).image_counts[3] == 1


def test_label_table_of_a_subset(tmp_path, content):
    dataset = build(tmp_path, content)
    expected = labels_of(dataset)[::-1]
    assert labels_of(dataset.get_subset(list(range(8))[::-1])) == expected
    dataset.get_subset_(list(range(8))[::-1])
    assert dataset.get_label_table().labels.tolist() == [label for labels in expected for label in labels]


def test_counts_through_class_balanced_dataset(tmp_path, content):
    write_lvis(tmp_path, content)
    repeated = ClassBalancedDataset(dataset_config(tmp_path), oversample_thr=0.9)
    assert len(repeated) > 8
    assert class_distribution_of(repeated) == class_distribution_of(repeated.dataset)


def test_invalid_boxes_are_dropped(tmp_path, content):
    sizes = [[0, 5], [5, 0], [-3, 5], [5, -3], [0.5, 5]]
    kites = [ann for ann in content['annotations'] if ann['category_id'] == CATEGORY_IDS[0]]
    for annotation, size in zip(kites, sizes):
        annotation['bbox'][2:] = size
    dataset = build(tmp_path, content)
    assert labels_of(dataset)[0] == [3]
    assert class_distribution_of(dataset).instance_counts[0] == len(kites) - len(sizes)


def test_empty_classes_and_images(tmp_path, content):
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] != 10]  # the only oar
    distribution = class_distribution_of(build(tmp_path, content))
    assert distribution.instance_counts[3] == 0 and distribution.class_names == CLASSES
    assert distribution.num_images == 7 and len(build(tmp_path)) == 8
    assert len(build(tmp_path, filter_cfg=dict(filter_empty_gt=True))) == 7
    empty = build(tmp_path, dict(content, annotations=[]))
    assert labels_of(empty) == [[]] * 8
    with pytest.raises(ClassDistributionError):
        class_distribution_of(empty)


# ------------------------------------------------------------------ errors


def test_missing_annotation_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='annotations.json does not exist. In a config'):
        build(tmp_path)


@pytest.mark.parametrize('text', ['{"images": [{"id": 1, "wid', '<html>not found</html>', '', '\x00\xff', '[]'])
def test_other_files(tmp_path, text):
    (tmp_path / 'annotations.json').write_bytes(text.encode('latin-1'))
    with pytest.raises(InputError, match='annotations.json'):
        build(tmp_path)


INVALID = [
    (lambda c: c.pop('images'), '`images` is missing or not a list'),
    (lambda c: c.update(annotations=[5]), '`annotations` is missing or not a list'),
    (lambda c: c['categories'].pop(), "1 annotations whose 'category_id' is not in .* 'category_id': 9"),
    (lambda c: c['images'].pop(0), "2 annotations whose 'image_id' is not in .* 'image_id': 10"),
    (lambda c: c['images'].append(c['images'][4]), '1 duplicate ids of images, 14 first'),
    (lambda c: c['annotations'].append(c['annotations'][0]), '1 duplicate ids of annotations, 1 first'),
    (lambda c: c['categories'].append(dict(id=7, name='mug')), "duplicate names of categories, 'mug'"),
    (lambda c: c['annotations'][2].pop('bbox'), "1 annotations without the field 'bbox'"),
    (lambda c: c['annotations'][2].update(bbox=[1, 2]), '1 annotations whose bbox'),
    (lambda c: c['annotations'][2].update(bbox=[1, 2, 3, float('nan')]), '1 annotations whose bbox'),
    (lambda c: c['annotations'][2].update(bbox=[1, 2, 3, '4']), '1 annotations whose bbox'),
    (lambda c: c['annotations'][2].update(bbox=None), '1 annotations whose bbox'),
    (lambda c: c['annotations'][2].update(area=None), '1 annotations whose area'),
    (lambda c: c['annotations'][2].update(area=-4), '1 annotations whose area'),
    (lambda c: c['annotations'][2].update(area=float('nan')), '1 annotations whose area'),
    (lambda c: c['images'][1].update(neg_category_ids=None), "1 images whose 'neg_category_ids' is not a list"),
    (lambda c: c['images'][1].update(not_exhaustive_category_ids=['oar']), "'not_exhaustive_category_ids' is not a"),
    (
        lambda c: c['images'][1]['neg_category_ids'].append(77),
        "'neg_category_ids' lists an id .*the first is .*'id': 11",
    ),
    (
        lambda c: c['images'][1].update(neg_category_ids=list(range(1000, 1040))),
        r"'neg_category_ids' lists an id .*'neg_category_ids': '\[1000, 1001, .*\.\.\.'",
    ),
    (lambda c: c['images'][1].update(not_exhaustive_category_ids=[77]), "'not_exhaustive_category_ids' lists an id"),
    (lambda c: c.update(categories=[], annotations=[]), 'no categories'),
    (lambda c: c.update(images=[], annotations=[]), 'No image is left of the 0'),
    (lambda c: c['images'][1].pop('coco_url'), "1 images without the field 'coco_url' or 'file_name'"),
]


@pytest.mark.parametrize('change, message', INVALID)
def test_invalid_content(tmp_path, content, change, message):
    change(content)
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    with pytest.raises(AnnotationFileError, match=message):
        build(tmp_path)


def test_masks_are_checked_if_loaded(tmp_path, content):
    load = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    content['annotations'][1]['segmentation'] = dict(size=[64, 64], counts=[3, 5])
    build(tmp_path, content)
    with pytest.raises(AnnotationFileError, match='the mask of annotation 2 has run lengths of 8 pixels'):
        build(tmp_path, pipeline=load)
    del content['annotations'][1]['segmentation']
    with pytest.raises(AnnotationFileError, match="1 annotations without the field 'segmentation'"):
        build(tmp_path, content, pipeline=load)


def test_filter_that_keeps_no_image(tmp_path, content):
    with pytest.raises(AnnotationFileError, match="No image is left of the 8 .*'filter_empty_gt'"):
        build(tmp_path, dict(content, annotations=[]), filter_cfg=dict(filter_empty_gt=True))


def test_unknown_class_name(tmp_path, content):
    with pytest.raises(AnnotationFileError, match="got 'boat'. The file has 4 categories"):
        build(tmp_path, content, metainfo=dict(classes=['kite', 'boat']))


def test_missing_images(tmp_path, content):
    write_lvis(tmp_path, content)
    for image_id in (12, 15):
        (tmp_path / f'train2017/{image_id:012}.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of 8 images are missing, .*000000000012.png first'):
        build(tmp_path)
    assert len(build(tmp_path, check_files=False)) == 8
    assert len(build(tmp_path, indices=2)) == 2


# ------------------------------------------------------------------ files of others


def own_coco(content) -> dict:
    """Make it a COCO file as a subset of COCO: not federated, no areas, no masks, images in one folder."""
    for image in content['images']:
        del image['neg_category_ids'], image['not_exhaustive_category_ids']
        image['file_name'] = image['coco_url'].rsplit('/', 1)[1]
    for annotation in content['annotations']:
        annotation.update(area=0, segmentation=[])
    return content


def test_area_of_boxes_without_mask(tmp_path, content):
    expected = labels_of(build(tmp_path / 'a', content))
    content['annotations'][0].update(area=0, segmentation=[])
    del content['annotations'][1]['area'], content['annotations'][1]['segmentation']
    assert labels_of(build(tmp_path / 'b', content)) == expected


def test_perfect_detector_on_boxes_of_area_0(tmp_path, content):
    write_lvis(tmp_path, own_coco(content))
    dataset = build(tmp_path, data_prefix=dict(img='train2017'))
    metric = LVISMetric(str(tmp_path / 'annotations.json'), csv_name=None)
    metric.dataset_meta = dataset.metainfo
    metric.set_class_distribution(class_distribution_of(dataset))
    for i in range(len(dataset)):
        record = dataset.get_data_info(i)
        boxes = torch.tensor([instance['bbox'] for instance in record['instances']], dtype=torch.float64)
        labels = torch.tensor([instance['bbox_label'] for instance in record['instances']])
        prediction = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(labels)))
        metric.process(None, [dict(img_id=record['img_id'], pred_instances=prediction)])
    assert metric.evaluate(len(dataset))['lvis/bbox_AP'] == pytest.approx(1)


@pytest.mark.parametrize('test_mode', [False, True])
def test_dropped_boxes_are_counted(tmp_path, content, test_mode, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.lvis.print_log', lambda text, *_: lines.append(text))
    a, b, c, d = content['annotations'][:4]
    a['bbox'][2], b['area'], c['area'], d['bbox'][:2] = 0.5, 0, 0, [500, 10]
    build(tmp_path, content, test_mode=test_mode)
    assert len(lines) == (not test_mode)
    if lines:
        assert '4 of ' in lines[0] and '2 of area 0, 1 less than a pixel wide or high, 1 outside their' in lines[0]


def test_broken_images_are_skipped(tmp_path, content):
    write_lvis(tmp_path, content)
    (tmp_path / 'train2017/000000000010.png').write_bytes(b'')  # the only oar
    options = dataset_config(tmp_path, type='ltmm.without_broken_images', of='ltmm.LVISDataset', max_broken=1)
    options['pipeline'] = [dict(type='LoadImageFromFile')]
    dataset = DATASETS.build(options)
    assert len(dataset) == 7 and class_distribution_of(dataset).instance_counts[3] == 0
    assert len(DATASETS.build(dict(options, test_mode=True))) == 7


def test_subset_of_coco_in_one_folder(tmp_path, content):
    write_lvis(tmp_path, own_coco(content))
    dataset = build(tmp_path, data_prefix=dict(img='train2017'))
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'train2017/000000000010.png')
    (tmp_path / 'train2017/000000000010.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 8 images are missing') as error:
        build(tmp_path, data_prefix=dict(img='train2017'))
    assert 'LVIS' not in str(error.value)


def test_hint_for_lvis_only(tmp_path):
    for name, is_lvis in (('lvis_v1_train.json', True), ('instances_train.json', False), ('lvis_own.json', False)):
        with pytest.raises(FileNotFoundError) as error:
            build(tmp_path, ann_file=name)
        assert ('LVIS is found at' in str(error.value)) == is_lvis


HUGE = 10**400
INVALID_NUMBERS = [
    (lambda c: c['images'][1].update(id=10**30), '1 images whose id is not a number'),
    (lambda c: c['images'][1].update(id=[1]), '1 images whose id is not a number'),
    (lambda c: c['annotations'][1].update(image_id=[1]), "1 annotations whose 'image_id' is not in"),
    (lambda c: c['annotations'][1].update(bbox=[1, 2, 3, HUGE]), '1 annotations whose bbox'),
    (lambda c: c['annotations'][1].update(area=HUGE), '1 annotations whose area'),
    (lambda c: c['images'][1].update(width=0), '1 images whose height or width'),
    (lambda c: c['images'][1].update(width=HUGE), '1 images whose height or width'),
    (lambda c: c['images'][1].update(height='64'), '1 images whose height or width'),
    (lambda c: c['categories'][1].update(name=['mug']), '1 categories whose name is not a text'),
    (lambda c: c['images'][1].update(coco_url=5), "1 images without the field 'coco_url'"),
    (lambda c: c['images'][1].update(coco_url='http://[bad'), 'Image 11 has the invalid coco_url'),
]


@pytest.mark.parametrize('change, message', INVALID_NUMBERS)
def test_hostile_content(tmp_path, content, change, message):
    test_invalid_content(tmp_path, content, change, message)
