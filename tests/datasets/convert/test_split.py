import csv
import json

import numpy as np
import pytest
from PIL import Image

from ltmm.datasets.convert.split import split_annotations
from ltmm.utils.errors import InputError

SIZES = dict(val=0.2, test=0.2)
COUNTS = dict(ant=12, bee=4, cow=3, dog=1)
NAMES = [f'{label}{i}.png' for label, count in COUNTS.items() for i in range(count)]


def by_part(names: dict[str, list[str]]) -> dict[str, dict[str, int]]:
    return {
        part: {label: sum(name.startswith(label) for name in found) for label in COUNTS}
        for part, found in names.items()
    }


EXPECTED = dict(
    train=dict(ant=8, bee=2, cow=1, dog=1), val=dict(ant=2, bee=1, cow=1, dog=0), test=dict(ant=2, bee=1, cow=1, dog=0)
)


def split_csv(tmp_path, names, out):
    source = tmp_path / f'{out}.csv'
    source.write_text('image,by,label\n' + ''.join(f'{name},"a, b",{name[:3]}\n' for name in names))
    split_annotations(source, 'csv', tmp_path / out, SIZES)
    parts = {}
    for part in ('train', 'val', 'test'):
        with open(tmp_path / out / f'{part}.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        assert all(row['by'] == 'a, b' for row in rows)
        parts[part] = sorted(row['image'] for row in rows)
    return parts


def test_csv_whatever_the_order_of_rows(tmp_path):
    parts = split_csv(tmp_path, NAMES, 'first')
    assert by_part(parts) == EXPECTED
    assert sorted(name for part in parts.values() for name in part) == sorted(NAMES)
    assert split_csv(tmp_path, np.random.default_rng(0).permutation(NAMES), 'second') == parts


def test_coco_keeps_what_it_does_not_know(tmp_path):
    images = [dict(id=i, file_name=name, width=4, height=4, camera='x') for i, name in enumerate(NAMES)]
    annotations = [
        dict(id=j, image_id=i, category_id=list(COUNTS).index(name[:3]), bbox=[0, 0, 2, 2], area=4, by='me')
        for j, (i, name) in enumerate([*enumerate(NAMES)] * 2)
    ]
    content = dict(
        info='mine', images=images, annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(COUNTS)],
    )  # fmt: skip
    (tmp_path / 'all.json').write_text(json.dumps(content))
    split_annotations(tmp_path / 'all.json', 'coco', tmp_path / 'out', SIZES)
    parts = {part: json.loads((tmp_path / f'out/{part}.json').read_text()) for part in EXPECTED}
    assert by_part({p: [image['file_name'] for image in c['images']] for p, c in parts.items()}) == EXPECTED
    for part in parts.values():
        assert part['categories'] == content['categories'] and part['info'] == 'mine'
        ids = [image['id'] for image in part['images']]
        assert part['annotations'] == [a for a in annotations if a['image_id'] in ids]


@pytest.fixture
def photos(tmp_path):
    for name in NAMES:
        path = tmp_path / 'photos' / name[:3] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path)
    return tmp_path / 'photos'


def test_folders(tmp_path, photos):
    split_annotations(photos, 'folders', tmp_path / 'out', SIZES)
    parts = {part: [path.name for path in (tmp_path / 'out' / part).rglob('*.png')] for part in EXPECTED}
    assert by_part(parts) == EXPECTED
    assert (tmp_path / 'out/val/dog').is_dir()  # every part has the same classes
    assert all(path.resolve().is_relative_to(photos) for path in (tmp_path / 'out').rglob('*.png'))


def test_yolo_lists(tmp_path, photos):
    (photos / 'classes.txt').write_text('\n'.join(COUNTS))
    for path in photos.rglob('*.png'):
        path.with_suffix('.txt').write_text(f'{list(COUNTS).index(path.name[:3])} 0.5 0.5 1 1\n')
    split_annotations(photos, 'yolo', tmp_path / 'out', SIZES)
    lists = {part: (tmp_path / f'out/{part}.txt').read_text().split() for part in EXPECTED}
    assert by_part({part: [line.rpartition('/')[2] for line in lines] for part, lines in lists.items()}) == EXPECTED


def test_shares(tmp_path):
    with pytest.raises(InputError, match=r'Expected val \+ test to be below 1, but got 0.5 \+ 0.5'):
        split_annotations(tmp_path / 'a.csv', 'csv', tmp_path / 'out', dict(val=0.5, test=0.5))


def test_columns_that_are_no_classes(tmp_path):
    rows = ''.join(f'{i}.jpg,{20 + i},{i % 2},{i % 3 == 0:d}\n' for i in range(12))
    (tmp_path / 'all.csv').write_text('image,age,ant,bee\n' + rows)
    with pytest.raises(InputError, match="column 'age'.*--classes of the tools"):
        split_annotations(tmp_path / 'all.csv', 'csv', tmp_path / 'out', SIZES)
    tables = split_annotations(tmp_path / 'all.csv', 'csv', tmp_path / 'out', SIZES, classes=['ant', 'bee'])
    assert sum(map(len, tables.values())) == 12
    assert (tmp_path / 'out/val.csv').read_text().startswith('image,age,ant,bee\n')
