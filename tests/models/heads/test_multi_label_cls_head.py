import pytest
import torch
from mmpretrain.structures import DataSample
from toy_losses import prepare

from ltmm.registry import MODELS

FEATS = (torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),)
DB = dict(type='ltmm.DistributionBalancedLoss', alpha=0.1, beta=10.0, mu=0.2)


def build(loss='ltmm.MultiLabelBCELoss', **kwargs):
    loss = loss if isinstance(loss, dict) else dict(type=loss)
    return MODELS.build(dict(type='ltmm.MultiLabelClsHead', num_classes=5, in_channels=4, loss=loss, **kwargs))


def samples_of(targets):
    return [DataSample().set_gt_score(torch.tensor(target, dtype=torch.float32)) for target in targets]


COMPLETE = samples_of([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
PARTIAL = samples_of([[1, 0, 0, 1, 0], [0, 1, -1, 0, 0], [0, 0, 0, 0, 0]])


def test_loss_is_not_divided_by_the_images():
    head = build(dict(type='ltmm.ASLLoss'))
    expected = head.loss_module(head(FEATS), head.labels_of(COMPLETE))  # a sum stays a sum
    torch.testing.assert_close(head.loss(FEATS, COMPLETE), dict(loss=expected))


@pytest.mark.parametrize('loss', ['ltmm.KPositiveCELoss', 'mmpretrain.AsymmetricLoss', DB])
def test_unknown_labels_that_the_loss_does_not_support(loss):
    head = prepare(build(loss), [9, 5, 3, 2, 1])
    assert head.loss(FEATS, COMPLETE)['loss'].isfinite()
    with pytest.raises(ValueError, match='unknown labels, but image 1 of the batch'):
        head.loss(FEATS, PARTIAL)


@pytest.mark.parametrize('chosen, expected', [(dict(), [0, 2]), (dict(thr=0.8), [0]), (dict(topk=1), [0])])
def test_predictions(chosen, expected):
    head = build(**chosen)
    head.forward = lambda feats: torch.tensor([[2.0, -1.0, 1.0, -3.0, -4.0]])
    (sample,) = head.predict(FEATS)
    torch.testing.assert_close(sample.pred_score, head.forward(FEATS)[0].sigmoid())
    assert sample.pred_label.tolist() == expected


@pytest.mark.parametrize(
    'sample, found',
    [
        (DataSample().set_gt_label([0, 9]), r'`gt_label` \[0, 9\]'),
        (DataSample().set_gt_label(-1), r'`gt_label` \[-1\]'),
        (samples_of([[1, 0, 0, 1]])[0], r'`gt_score` of shape \(4,\)'),
    ],
)
def test_labels_of_other_classes(sample, found):
    with pytest.raises(ValueError, match=f'num_classes=5, but image 1 of the batch has {found}'):
        build().loss(FEATS, [COMPLETE[0], sample, DataSample().set_gt_label([2])])


def test_labels_of_each_kind():
    both = DataSample().set_gt_label([1]).set_gt_score(torch.tensor([0.0, 1.0, -1.0, 0.0, 0.0]))
    samples = [DataSample().set_gt_label([0, 2]), both, PARTIAL[1]]
    expected = [[1, 0, 1, 0, 0], [0, 1, -1, 0, 0], [0, 1, -1, 0, 0]]
    assert build().labels_of(samples).tolist() == expected
    assert not build().labels_of([DataSample().set_gt_label([])]).any()
