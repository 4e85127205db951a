import pickle

import numpy as np
import pytest

pytest.importorskip('mmdet')

from mmdet.datasets import OpenImagesChallengeDataset as MMDetOpenImagesChallengeDataset

from ltmm.datasets import OpenImagesChallengeDataset, openimages
from ltmm.datasets.labels import class_distribution_of
from ltmm.utils.checkpoints import forbid_code
from ltmm.utils.errors import InputError

BOXES = """a.jpg
#
2
1 0.1 0.2 0.5 0.6 0
3 0.0 0.0 1.0 1.0 1
b.jpg
#
1
3 0.5 0.5 1.0 1.0 0
"""


def build(folder, dataset=OpenImagesChallengeDataset, tree='tree.npy', **options):
    return dataset(
        data_root=str(folder),
        ann_file='boxes.txt',
        label_file='classes.csv',
        hierarchy_file=tree,
        meta_file='metas.pkl',
        data_prefix=dict(img='images'),
        pipeline=[],
        **options,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'boxes.txt').write_text(BOXES)
    (tmp_path / 'classes.csv').write_text('/m/1,cat,1\n/m/3,animal,3\n/m/2,dog,2\n')
    np.save(tmp_path / 'tree.npy', np.eye(4))
    metas = [dict(filename=name, ori_shape=(10, 20, 3)) for name in ('a.jpg', 'b.jpg')]
    (tmp_path / 'metas.pkl').write_bytes(pickle.dumps(metas))
    return tmp_path


@pytest.fixture
def dataset(folder):
    return build(folder)


@pytest.mark.parametrize('image_labels', [False, True])
def test_records_are_those_of_mmdet(folder, image_labels):
    options = {}
    if image_labels:
        (folder / 'labels.csv').write_text('ImageID,LabelName,Confidence\nb,/m/2,1\nb,/m/1,0.5\nx,/m/1,1\n')
        options = dict(image_level_ann_file='labels.csv')
    ours, theirs = build(folder, **options), build(folder, MMDetOpenImagesChallengeDataset, **options)
    assert len(ours) == len(theirs) == 2
    for i in (0, 1, -1):
        record, expected = ours.get_data_info(i), theirs.get_data_info(i)
        for instance in expected['instances']:
            instance['is_group_of'] = instance.pop('is_group_ofs')  # the metric reads it
        assert record.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_equal(record[key], value)
    assert (ours.metainfo['RELATION_MATRIX'] == theirs.metainfo['RELATION_MATRIX']).all()


def test_parts_of_the_data(folder, monkeypatch):
    monkeypatch.setattr(openimages, 'LINES_AT_ONCE', 1)
    whole = build(folder)
    expected = whole.get_data_info(1)['instances']
    for part in (build(folder, indices=[1]), whole.get_subset([1]), pickle.loads(pickle.dumps(whole)).get_subset([-1])):
        assert len(part) == 1 and part.get_data_info(0)['instances'] == expected
        assert class_distribution_of(part).instance_counts.tolist() == [0, 0, 1]
    assert whole.get_subset([1])._boxes is whole._boxes


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'Expected images in .*boxes.txt, but it has none'),
        (BOXES[:-20], 'Expected 1 boxes of b.jpg in .* the file ends: it is cut off'),
        (BOXES.replace('#\n2\n', '#\nmany\n'), "Expected the number of boxes of a.jpg in .*, but got 'many'"),
        (BOXES.replace('1 0.1 ', '1 left '), r"Expected boxes as label, x1, .* \(could not convert string 'left'"),
        (BOXES.replace(' 0\n', '\n').replace(' 1\n', '\n'), r'but got others \(invalid column index 5'),
        (BOXES.replace('3 0.5', '4 0.5'), 'Expected labels from 1 to 3, as in the label file, in .*, but got 1 to 4'),
        (BOXES.replace('b.jpg', 'c.jpg'), 'Expected the sizes of the 2 images .* but got 2; image 1 is the first'),
        (BOXES.partition('b.jpg')[0], 'Expected the sizes of the 1 images .* but got 2; image 1 is the first'),
    ],
)
def test_wrong_annotation_files(folder, text, message):
    (folder / 'boxes.txt').write_text(text)
    with pytest.raises(InputError, match=message):
        build(folder)


def test_instances_are_counted(dataset):
    distribution = class_distribution_of(dataset)
    assert distribution.class_names == ('cat', 'dog', 'animal')
    assert distribution.instance_counts.tolist() == [1, 0, 2]


def test_files_of_openimages_need_no_trust(folder):
    forbid_code()
    np.save(folder / 'tree.npy', np.arange(16.0).reshape(4, 4))
    matrix = build(folder).metainfo['RELATION_MATRIX']
    assert matrix.tolist() == [[5.0, 6.0, 7.0], [9.0, 10.0, 11.0], [13.0, 14.0, 15.0]]


def test_code_in_the_class_tree_is_not_run(folder):
    (folder / 'tree.np').write_bytes(pickle.dumps(print))
    with pytest.raises(InputError, match=r'tree.np has to run code, builtins.print. Nothing was run'):
        build(folder, tree='tree.np')


@pytest.mark.parametrize('tree', [np.eye(3), np.ones(4), np.full((4, 4), 'a')])
def test_class_tree_of_another_size(folder, tree):
    np.save(folder / 'tree.npy', tree)
    with pytest.raises(InputError, match=r'Expected a class tree of shape \(4, 4\) in .*tree.npy, but got \('):
        build(folder)


def test_class_tree_that_is_no_array(folder):
    for content, message in ((b'', 'cannot be read'), (pickle.dumps({}), r'of shape \(4, 4\) in .*, but got dict')):
        (folder / 'tree.np').write_bytes(content)
        with pytest.raises(InputError, match=f'tree.np.*{message}|{message}'):
            build(folder, tree='tree.np')
