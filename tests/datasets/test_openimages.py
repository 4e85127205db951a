import pickle

import numpy as np
import pytest

pytest.importorskip('mmdet')

from ltmm.datasets import OpenImagesChallengeDataset
from ltmm.datasets.labels import class_distribution_of

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


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / 'boxes.txt').write_text(BOXES)
    (tmp_path / 'classes.csv').write_text('/m/1,cat,1\n/m/3,animal,3\n/m/2,dog,2\n')
    np.save(tmp_path / 'tree.npy', np.eye(4))
    metas = [dict(filename=name, ori_shape=(10, 20, 3)) for name in ('a.jpg', 'b.jpg')]
    (tmp_path / 'metas.pkl').write_bytes(pickle.dumps(metas))
    return OpenImagesChallengeDataset(
        data_root=str(tmp_path),
        ann_file='boxes.txt',
        label_file='classes.csv',
        hierarchy_file='tree.npy',
        meta_file='metas.pkl',
        data_prefix=dict(img=''),
    )


def test_groups_are_named_as_the_metric_reads_them(dataset):
    first, second = dataset.load_data_list()
    assert [instance['is_group_of'] for instance in first['instances']] == [False, True]
    assert first['instances'][0]['bbox'] == [2.0, 2.0, 10.0, 6.0]
    assert 'is_group_ofs' not in second['instances'][0]


def test_instances_are_counted(dataset):
    distribution = class_distribution_of(dataset)
    assert distribution.class_names == ('cat', 'dog', 'animal')
    assert distribution.instance_counts.tolist() == [1, 0, 2]
