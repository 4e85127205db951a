import pytest
import torch
from mmengine.registry import DefaultScope
from toy_lvis import CLASSES, box_head

from ltmm import ClassDistribution
from ltmm.models.losses import GAPLoss, ROGLoss
from ltmm.registry import MODELS

C = len(CLASSES)
LABEL = torch.tensor([0, 0, 1, 3, C, C, C, C])
BASES = {
    'softmax': (dict(type='CrossEntropyLoss'), C + 1),
    'sigmoid': (dict(type='ltmm.SigmoidCrossEntropyLoss'), C + 1),
    'eql': (dict(type='ltmm.EQLLoss', lambda_=0.2), C),
    'seesaw': (dict(type='SeesawLoss', num_classes=C), C + 2),
}
EACH_BASE = pytest.mark.parametrize('base', BASES)


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(loss_cls, type='ltmm.Shared2FCBBoxHead'):
    """A box head with this loss, and the logits of eight proposals."""
    torch.manual_seed(0)
    head = MODELS.build(box_head(type=type, loss_cls=loss_cls))
    head.init_weights()
    for module in head.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(ClassDistribution([40, 20, 5, 0], num_images=60))
    return head, head(torch.randn(len(LABEL), 8, 7, 7))


def losses_of(head, outputs):
    num = len(LABEL)
    return head.loss(*outputs, torch.zeros(num, 5), LABEL, torch.ones(num), torch.zeros(num, 4), torch.ones(num, 4))


@EACH_BASE
@pytest.mark.parametrize('type', ['ltmm.Shared2FCBBoxHead', 'mmdet.Shared2FCBBoxHead'])
def test_adds_the_ranking_to_the_terms_of_any_base(base, type):
    cfg, width = BASES[base]
    alone, _ = build(cfg, type)
    head, outputs = build(dict(type='ltmm.ROGLoss', loss=cfg), type)
    assert head.fc_cls.out_features == width
    torch.testing.assert_close(head.state_dict()['fc_cls.bias'], alone.state_dict()['fc_cls.bias'])
    expected, got = losses_of(alone, outputs), losses_of(head, outputs)
    rank = got.pop('loss_rank')
    expected = {name: value.view(got[name].shape) for name, value in expected.items()}  # mmdet's accuracy is (1,)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(rank, GAPLoss(C)(outputs[0], LABEL))
    torch.testing.assert_close(
        head.loss_cls.get_activation(outputs[0]),
        alone.loss_cls.get_activation(outputs[0]) if base != 'softmax' else outputs[0].softmax(1),
    )
    sum(value for name, value in losses_of(head, outputs).items() if 'loss' in name).backward()
    assert head.fc_cls.weight.grad.abs().sum() > 0


def test_a_checkpoint_carries_the_counts_and_those_of_the_base():
    cfg = dict(type='ltmm.ROGLoss', loss=BASES['seesaw'][0])
    (trained, outputs), (fresh, _) = build(cfg), build(cfg)
    losses_of(trained, outputs)
    fresh.load_state_dict(trained.state_dict())
    assert fresh.loss_cls.loss_rank.seen.counts.tolist() == [2, 1, 0, 1, 4]
    assert fresh.loss_cls.loss.cum_samples.tolist() == [2, 1, 0, 1, 4]


def test_without_proposals_every_term_keeps_the_graph():
    head, _ = build(dict(type='ltmm.ROGLoss', loss=BASES['sigmoid'][0]))
    none = torch.zeros(0, dtype=torch.long)
    losses = head.loss(
        *head(torch.zeros(0, 8, 7, 7)), torch.zeros(0, 5), none, torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 4)
    )
    (losses['loss_cls'] + losses['loss_rank']).backward()
    assert losses['loss_rank'] == 0 and (head.fc_cls.weight.grad == 0).all()


@pytest.mark.parametrize('type', ['CrossEntropyLoss', 'EQLV2Loss'])
def test_sigmoids_that_mmdet_would_score_by_softmax_are_refused(type):
    message = rf"ROGLoss: {type} trains sigmoids, but mmdet's box heads.*Use ltmm.SigmoidCrossEntropyLoss"
    with pytest.raises(TypeError, match=message):
        ROGLoss(dict(type=type, use_sigmoid=True))


@pytest.mark.parametrize(
    'cfg, message',
    [
        (dict(type='FocalCustomLoss', num_classes=C), rf'FocalCustomLoss to be \(N, {C + 1}\).*got \(N, {C}\)'),
        (dict(type='FocalCustomLoss', num_classes=C + 1), 'FocalCustomLoss is no loss of a box head of 4 classes'),
        (dict(type='L1Loss'), r'L1Loss is no loss of a box head .*labels \(N,\) it raises AssertionError'),
        (dict(type='MSELoss'), 'MSELoss is no loss of a box head'),
    ],
)
@pytest.mark.parametrize('owner', ['ROGLoss', 'RoILossPerExpert'])
def test_what_is_no_loss_of_a_box_head_is_refused_when_the_head_is_built(cfg, message, owner):
    if owner == 'ROGLoss':
        loss_cls, head = dict(type='ltmm.ROGLoss', loss=cfg), {}
    else:
        loss_cls, head = dict(type='ltmm.RoILossPerExpert', losses=[cfg]), dict(type='ltmm.MultiExpertBBoxHead')
    with pytest.raises(TypeError, match=f'{owner}: .*{message}'):
        build(loss_cls, **head)


def test_a_base_without_counts_and_one_that_counts_are_not_changed_by_the_check():
    head, _ = build(dict(type='ltmm.ROGLoss', loss=BASES['seesaw'][0]))
    assert not head.loss_cls.loss.cum_samples.any() and not head.loss_cls.loss_rank.seen.counts.any()
    MODELS.build(box_head(loss_cls=dict(type='ltmm.ROGLoss', loss=dict(type='ltmm.EQLLoss', lambda_=0.2))))


def test_a_dense_head_is_refused():
    from ltmm.models.accepts import check_losses

    head = MODELS.build(dict(type='RetinaHead', num_classes=C, in_channels=8, feat_channels=8))
    head.loss_cls = ROGLoss(BASES['sigmoid'][0])
    with pytest.raises(TypeError, match='accepts no loss of ltmm, but got ROGLoss'):
        check_losses(torch.nn.ModuleDict(dict(bbox_head=head)))


def test_outside_of_a_head_it_says_what_is_missing():
    with pytest.raises(RuntimeError, match=r'call get_cls_channels\(C\) first'):
        ROGLoss(BASES['sigmoid'][0])(torch.zeros(2, C + 1), torch.zeros(2, dtype=torch.long))


def test_a_sum_is_refused():
    head, (score, _) = build(dict(type='ltmm.ROGLoss', loss=BASES['sigmoid'][0]))
    with pytest.raises(ValueError, match="expected the reduction to be 'mean', but got 'sum'"):
        head.loss_cls(score, LABEL, reduction_override='sum')
