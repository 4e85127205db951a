import pytest
import torch
from mmpretrain.structures import DataSample

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
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


def test_targets_reach_the_loss_as_they_are():
    assert build().labels_of(PARTIAL).tolist()[1] == [0, 1, -1, 0, 0]


def test_indices_of_the_positives_are_complete_labels():
    samples = [DataSample(metainfo=dict(num_classes=5)).set_gt_label(label) for label in ([0, 3], [1], [])]
    torch.testing.assert_close(build().labels_of(samples), build().labels_of(COMPLETE))


def test_the_loss_is_that_of_its_module_whatever_the_number_of_images():
    head = build(dict(type='ltmm.ASLLoss'))
    expected = head.loss_module(head(FEATS), head.labels_of(COMPLETE))  # a sum stays a sum
    torch.testing.assert_close(head.loss(FEATS, COMPLETE), dict(loss=expected))


@pytest.mark.parametrize('loss', ['ltmm.KPositiveCELoss', 'mmpretrain.AsymmetricLoss', DB])
def test_unknown_labels_are_kept_from_losses_that_have_no_meaning_for_them(loss):
    head = build(loss)
    for module in head.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(ClassDistribution([9, 5, 3, 2, 1]))
    assert head.loss(FEATS, COMPLETE)['loss'].isfinite()
    with pytest.raises(ValueError, match=r'no meaning for unknown labels, but image 1 of the batch has one \(-1\)'):
        head.loss(FEATS, PARTIAL)


@pytest.mark.parametrize('chosen, expected', [(dict(), [0, 2]), (dict(thr=0.8), [0]), (dict(topk=1), [0])])
def test_predictions_are_sigmoid_scores(chosen, expected):
    head = build(**chosen)
    head.forward = lambda feats: torch.tensor([[2.0, -1.0, 1.0, -3.0, -4.0]])
    (sample,) = head.predict(FEATS)
    torch.testing.assert_close(sample.pred_score, head.forward(FEATS)[0].sigmoid())
    assert sample.pred_label.tolist() == expected


def test_a_checkpoint_carries_the_prior_and_the_classes_are_checked():
    head, fresh = build(DB, class_counts=[9, 5, 3, 2, 1]), build(DB)
    fresh.load_state_dict(head.state_dict())
    assert fresh.get_class_distribution() == head.get_class_distribution()
    with pytest.raises(ClassDistributionError, match='MultiLabelClsHead: expected .* to have 5 entries, but got 4'):
        build().set_class_distribution(ClassDistribution([4, 3, 2, 1]))


def test_only_multi_label_losses_fit():
    with pytest.raises(TypeError, match='MultiLabelClsHead accepts .* but got BalancedSoftmaxLoss'):
        build('ltmm.BalancedSoftmaxLoss')
    with pytest.raises(TypeError, match='accepts .* but got HillLoss'):
        MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=5, in_channels=4, loss=dict(type='ltmm.HillLoss')))


@pytest.mark.parametrize(
    'sample, message',
    [
        (
            DataSample().set_gt_label([0, 9]),
            r'`gt_label` in \[0, 5\), .* but image 1 of the batch has 9\. Set `num_classes`',
        ),
        (DataSample().set_gt_label(-1), r'`gt_label` in \[0, 5\), .* but image 1 of the batch has -1\.'),
        (samples_of([[1, 0, 0, 1]])[0], r'`gt_score` of 5 classes, .* but image 1 of the batch has shape \(4,\)'),
    ],
)
def test_labels_of_other_classes_are_refused_with_the_image(sample, message):
    with pytest.raises(ValueError, match=f'MultiLabelClsHead: expected {message}'):
        build().loss(FEATS, [COMPLETE[0], sample, DataSample().set_gt_label([2])])


def test_number_of_classes_has_to_be_positive():
    with pytest.raises(ValueError, match='`num_classes` to be positive, but got 0'):
        MODELS.build(dict(type='ltmm.MultiLabelClsHead', num_classes=0, in_channels=4, loss=dict(type='ltmm.HillLoss')))


def test_each_sample_says_for_itself_how_it_is_labelled():
    head = MODELS.build(
        dict(type='ltmm.MultiLabelClsHead', num_classes=3, in_channels=2, loss=dict(type='ltmm.ASLLoss'))
    )
    both = DataSample().set_gt_label([1]).set_gt_score(torch.tensor([0.0, 1.0, -1.0]))
    samples = [DataSample().set_gt_label([0, 2]), both, DataSample().set_gt_score(torch.tensor([-1.0, 0.0, 1.0]))]
    assert head.labels_of(samples).tolist() == [[1, 0, 1], [0, 1, -1], [-1, 0, 1]]
