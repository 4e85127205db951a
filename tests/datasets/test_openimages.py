import pickle

import numpy as np
import pytest

pytest.importorskip('mmdet')

from ltmm.datasets import OpenImagesChallengeDataset
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


def build(folder, tree='tree.npy'):
    return OpenImagesChallengeDataset(
        data_root=str(folder),
        ann_file='boxes.txt',
        label_file='classes.csv',
        hierarchy_file=tree,
        meta_file='metas.pkl',
        data_prefix=dict(img=''),
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


def test_groups_are_named_as_the_metric_reads_them(dataset):
    first, second = dataset.load_data_list()
    assert [instance['is_group_of'] for instance in first['instances']] == [False, True]
    assert first['instances'][0]['bbox'] == [2.0, 2.0, 10.0, 6.0]
    assert 'is_group_ofs' not in second['instances'][0]


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
        build(folder, 'tree.np')


@pytest.mark.parametrize('tree', [np.eye(3), np.ones(4), np.full((4, 4), 'a')])
def test_class_tree_of_another_size(folder, tree):
    np.save(folder / 'tree.npy', tree)
    with pytest.raises(InputError, match=r'Expected a class tree of shape \(4, 4\) in .*tree.npy, but got \('):
        build(folder)


def test_class_tree_that_is_no_array(folder):
    for content, message in ((b'', 'cannot be read'), (pickle.dumps({}), r'of shape \(4, 4\) in .*, but got dict')):
        (folder / 'tree.np').write_bytes(content)
        with pytest.raises(InputError, match=f'tree.np.*{message}|{message}'):
            build(folder, 'tree.np')
