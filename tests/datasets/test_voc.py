from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import VOCDataset as MMDetVOCDataset
from PIL import Image

from ltmm.datasets import class_distribution_of
from ltmm.datasets.voc import VOCDataset

BOX = '<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>'
OBJECTS = {
    'a': [('dog', 0, (1, 2, 30, 20)), ('cat', 1, (5, 5, 9.6, 9))],
    'b': [('cat', 0, (1, 1, 40, 30))],
    'c': [],
}


def write(folder: Path, suffix='.jpg', size=(40, 30), objects=OBJECTS) -> None:
    for name in ('JPEGImages', 'Annotations'):
        (folder / name).mkdir(exist_ok=True)
    for name, items in objects.items():
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / 'JPEGImages' / f'{name}{suffix}')
        text = ''.join(
            f'<object><name>{n}</name><pose>Unspecified</pose><difficult>{d}</difficult>{BOX.format(*box)}</object>'
            for n, d, box in items
        )
        header = f'<size><width>{size[0]}</width><height>{size[1]}</height></size>'
        (folder / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{header}{text}</annotation>')
    (folder / 'train.txt').write_text('\n'.join(objects))


def options(folder, **changes) -> dict:
    prefix = dict(sub_data_root=str(folder))
    return dict(ann_file=str(folder / 'train.txt'), data_prefix=prefix, serialize_data=False, **changes)


@pytest.mark.parametrize(
    'changes', [{}, dict(test_mode=True), dict(filter_cfg=dict(filter_empty_gt=True, bbox_min_size=10))]
)
def test_samples_equal_mmdet(tmp_path, changes):
    write(tmp_path)
    changes['metainfo'] = dict(classes=('dog', 'cat'))
    ours, theirs = VOCDataset(**options(tmp_path, **changes)), MMDetVOCDataset(**options(tmp_path, **changes))
    assert ours.data_list == theirs.data_list and len(ours) == 3 - ('filter_cfg' in changes)


def test_folder_of_labelimg(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.voc.print_log', lambda text, *_: lines.append(text))
    objects = {f'my {name}': items for name, items in OBJECTS.items()}
    objects['my c'] = [('bat', 'Unspecified', (5, 5, 5, 9))]
    write(tmp_path, '.png', (0, 0), objects)
    dataset = VOCDataset(**options(tmp_path, lazy_init=True))
    assert dataset.metainfo['classes'] == ('bat', 'cat', 'dog')
    assert class_distribution_of(dataset).instance_counts.tolist() == [0, 1, 1]
    record = dataset.get_data_info(1)
    assert record['img_path'] == str(tmp_path / 'JPEGImages/my b.png') and record['img_id'] == 'my b'
    assert (record['height'], record['width']) == (30, 40)
    assert '1 of 4 objects are dropped (1 without a box of positive size)' in lines[0]
    VOCDataset(**options(tmp_path, metainfo=dict(classes=('cat', 'Dog', 'bat'))))
    assert "1 of 'dog', which is not in `classes`" in lines[1]


def test_missing_image(tmp_path):
    write(tmp_path)
    (tmp_path / 'JPEGImages/b.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 images are missing, .*b.jpg'):
        VOCDataset(**options(tmp_path))
