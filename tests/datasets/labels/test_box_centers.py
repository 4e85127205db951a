import numpy as np
import pytest
from toy_lvis import SIZE, dataset_config, lvis_content, write_lvis

pytest.importorskip('mmcv.ops')

from ltmm.datasets.labels.box_centers import box_centers
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError


@pytest.fixture
def content():
    content = lvis_content()
    content['annotations'][1]['iscrowd'] = 1
    return content


def expected(content):
    labels = {c['id']: label for label, c in enumerate(content['categories'])}
    kept = [ann for ann in content['annotations'] if not ann.get('iscrowd')]
    return sorted(
        (labels[ann['category_id']], (x + w / 2) / SIZE, (y + h / 2) / SIZE)
        for ann in kept
        for x, y, w, h in [ann['bbox']]
    )


def rows(centers, labels):
    return sorted((int(label), *center) for label, center in zip(labels, centers))


@pytest.mark.parametrize('wrapper', [None, 'RepeatDataset', 'ClassBalancedDataset', 'ConcatDataset'])
def test_every_box_once(tmp_path, content, wrapper):
    write_lvis(tmp_path, content)
    dataset = dataset_config(tmp_path)
    if wrapper == 'RepeatDataset':
        dataset = dict(type=wrapper, times=3, dataset=dataset)
    elif wrapper == 'ClassBalancedDataset':
        dataset = dict(type=wrapper, oversample_thr=0.9, dataset=dataset)
    elif wrapper == 'ConcatDataset':
        dataset = dict(type=wrapper, datasets=[dict(dataset, indices=3), dict(dataset, indices=[3, 4, 5, 6, 7])])
    np.testing.assert_allclose(rows(*box_centers(dataset)), expected(content))


@pytest.mark.parametrize('kind', ['mmdet.CocoDataset', 'ltmm.LVISDataset'])
def test_custom_coco_style_sets(tmp_path, content, kind):
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.png'
        del image['coco_url'], image['neg_category_ids'], image['not_exhaustive_category_ids']
    names = [c['name'] for c in content['categories']]
    path = write_lvis(tmp_path, content)
    dataset = dict(type=kind, ann_file=str(path), metainfo=dict(classes=names), data_prefix=dict(img=''), pipeline=[])
    if kind == 'ltmm.LVISDataset':
        dataset['check_files'] = False
    np.testing.assert_allclose(rows(*box_centers(dataset)), expected(content))


def test_images_without_size(tmp_path, content):
    dataset = DATASETS.build(dict(dataset_config(tmp_path), ann_file=write_lvis(tmp_path, content).name))
    records = [dict(dataset.get_data_info(i), width=None) for i in range(len(dataset))]

    class Plain:
        def __len__(self):
            return len(records)

        def get_data_info(self, index):
            return records[index]

    with pytest.raises(InputError, match='`width` and `height` of each image'):
        box_centers(Plain())
    records[:] = [dict(gt_label=1)]
    with pytest.raises(TypeError, match='dataset of boxes, but got Plain'):
        box_centers(Plain())
