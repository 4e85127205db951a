import zipfile

import numpy as np
import pytest
import torch

from ltmm.utils.errors import InputError
from ltmm.utils.predictions import DumpPredictions, read_predictions, write_predictions


def detections(*numbers):
    generator = torch.Generator().manual_seed(0)
    return [
        dict(
            img_id=10 + i,
            img_path=f'é/{i}.jpg',
            ori_shape=(3, 4),
            pred_instances=dict(
                bboxes=torch.rand(n, 4, generator=generator),
                scores=torch.rand(n, generator=generator),
                labels=torch.arange(n),
                masks=[dict(size=[3, 4], counts=b'04')] * n,
            ),
        )
        for i, n in enumerate(numbers)
    ]


def classified(number=3):
    score = torch.eye(number, 4)
    return [
        dict(gt_label=torch.tensor([i]), pred_score=score[i], sample_idx=i, flip=None if i else True)
        for i in range(number)
    ]


@pytest.mark.parametrize('samples', [detections(2, 0, 3), detections(1), detections(2, 2), classified()])
def test_round_trip(tmp_path, samples):
    write_predictions(samples, tmp_path / 'p.npz')
    read = read_predictions(tmp_path / 'p.npz')
    assert [sample.keys() for sample in read] == [sample.keys() for sample in samples]
    for got, sample in zip(read, samples):
        for key, value in sample.pop('pred_instances', {}).items():
            if key == 'masks':
                assert got['pred_instances'][key] == [dict(mask, counts='04') for mask in value]
            else:
                torch.testing.assert_close(got['pred_instances'][key], value, rtol=0, atol=0)
        for key, value in sample.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(got[key], value, rtol=0, atol=0)
            else:
                assert got[key] == (list(value) if isinstance(value, tuple) else value)


def test_arrays_for_numpy(tmp_path):
    write_predictions(classified(), tmp_path / 'p.npz')
    assert np.load(tmp_path / 'p.npz')['pred_score'].shape == (3, 4)
    write_predictions(detections(2, 0, 3), tmp_path / 'p.npz')
    file = np.load(tmp_path / 'p.npz')
    assert file['pred_instances.bboxes'].shape == (5, 4)
    assert file['pred_instances.bboxes/lengths'].tolist() == [2, 0, 3]
    assert file['img_id'].tolist() == [10, 11, 12]


def test_metric_writes_no_annotations(tmp_path):
    metric = DumpPredictions(tmp_path / 'p.npz')
    sample = detections(2)[0] | dict(gt_instances=dict(labels=torch.ones(1)))
    sample['pred_instances']['masks'] = torch.ones(2, 3, 4, dtype=torch.bool)
    metric.process(None, [sample])
    assert metric.evaluate(1) == {}
    (read,) = read_predictions(tmp_path / 'p.npz')
    assert 'gt_instances' not in read
    assert read['pred_instances']['masks'][0]['size'] == [3, 4]


@pytest.mark.parametrize(
    'arrays, reason',
    [
        (dict(a=np.array([None])), 'Object arrays'),
        (dict(a=np.zeros(3), b=np.zeros(2)), 'zip'),
        ({'a': np.zeros(3), 'a/lengths': np.array([2, -1, 2])}, 'a has 3 values'),
        ({'a': np.zeros(3), 'a/lengths': np.array([10**18, 1])}, 'a has 3 values'),
        ({'a/json': np.frombuffer(b'[' * 10**5, np.uint8), 'a/json/lengths': np.array([10**5])}, 'recursion'),
        ({}, 'StopIteration'),
    ],
)
def test_hostile_file(tmp_path, arrays, reason):
    np.savez(tmp_path / 'p.npz', **arrays)
    with pytest.raises(InputError, match=rf'p.npz is not a file of .*{reason}'):
        read_predictions(tmp_path / 'p.npz')


def test_lying_header(tmp_path):
    write_predictions(classified(), tmp_path / 'p.npz')
    with zipfile.ZipFile(tmp_path / 'p.npz') as file:
        content = file.read('pred_score.npy').replace(b'(3, 4), }       ', b'(300000000000, )')
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / 'p.npz', 'w', compression) as file:
            file.writestr('pred_score.npy', content)
        with pytest.raises(InputError, match='p.npz is not a file of'):
            read_predictions(tmp_path / 'p.npz')
    with pytest.raises(FileNotFoundError):
        read_predictions(tmp_path / 'q.npz')
