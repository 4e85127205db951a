import pytest
import torch
from mmengine.registry import DefaultScope
from toy_losses import prepare
from toy_lvis import CLASSES, box_head

from ltmm.models.losses import GAPLoss
from ltmm.registry import MODELS

C = len(CLASSES)
LABEL = torch.tensor([0, 0, 1, 3, C, C, C, C])
BASES = {
    'softmax': (dict(type='CrossEntropyLoss'), C + 1),
    'sigmoid': (dict(type='ltmm.SigmoidCrossEntropyLoss'), C + 1),
    'eql': (dict(type='ltmm.EQLLoss', lambda_=0.2), C),
    'seesaw': (dict(type='SeesawLoss', num_classes=C), C + 2),
}


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(loss_cls, type='ltmm.Shared2FCBBoxHead'):
    """Build a box head with this loss, and the logits of eight proposals."""
    torch.manual_seed(0)
    head = MODELS.build(box_head(type=type, loss_cls=loss_cls))
    prepare(head, [40, 20, 5, 0], num_images=60).init_weights()
    return head, head(torch.randn(len(LABEL), 8, 7, 7))


def losses_of(head, outputs):
    num = len(LABEL)
    return head.loss(*outputs, torch.zeros(num, 5), LABEL, torch.ones(num), torch.zeros(num, 4), torch.ones(num, 4))


@pytest.mark.parametrize('base', BASES)
@pytest.mark.parametrize('type', ['ltmm.Shared2FCBBoxHead', 'mmdet.Shared2FCBBoxHead'])
def test_adds_the_ranking_to_any_base(base, type):
    cfg, width = BASES[base]
    alone, _ = build(cfg, type)
    head, outputs = build(dict(type='ltmm.ROGLoss', loss=cfg), type)
    assert head.fc_cls.out_features == width
    torch.testing.assert_close(head.state_dict()['fc_cls.bias'], alone.state_dict()['fc_cls.bias'])
    expected, got = losses_of(alone, outputs), losses_of(head, outputs)
    rank = got.pop('loss_rank')
    expected = {name: value.view(got[name].shape) for name, value in expected.items()}  # mmdet's accuracy is (1,)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(rank, GAPLoss(num_classes=C)(outputs[0], LABEL))
    torch.testing.assert_close(
        head.loss_cls.get_activation(outputs[0]),
        alone.loss_cls.get_activation(outputs[0]) if base != 'softmax' else outputs[0].softmax(1),
    )
    sum(value for name, value in losses_of(head, outputs).items() if 'loss' in name).backward()
    assert head.fc_cls.weight.grad.abs().sum() > 0


def test_checkpoint_carries_both_counts():
    cfg = dict(type='ltmm.ROGLoss', loss=BASES['seesaw'][0])
    (trained, outputs), (fresh, _) = build(cfg), build(cfg)
    assert not any(value.any() for name, value in trained.loss_cls.state_dict().items())
    losses_of(trained, outputs)
    fresh.load_state_dict(trained.state_dict())
    assert fresh.loss_cls.loss_rank.seen.counts.tolist() == [2, 1, 0, 1, 4]
    assert fresh.loss_cls.loss.loss.cum_samples.tolist() == [2, 1, 0, 1, 4]


def test_without_proposals_every_term_keeps_the_graph():
    head, _ = build(dict(type='ltmm.ROGLoss', loss=BASES['sigmoid'][0]))
    none = torch.zeros(0, dtype=torch.long)
    losses = head.loss(
        *head(torch.zeros(0, 8, 7, 7)), torch.zeros(0, 5), none, torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 4)
    )
    (losses['loss_cls'] + losses['loss_rank']).backward()
    assert losses['loss_rank'] == 0 and (head.fc_cls.weight.grad == 0).all()


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='CrossEntropyLoss', use_sigmoid=True),
        dict(type='EQLV2Loss', use_sigmoid=True),
        dict(type='FocalCustomLoss', num_classes=C),
        dict(type='L1Loss'),
        dict(type='ltmm.LDAMLoss'),
    ],
    ids=lambda cfg: cfg['type'],
)
@pytest.mark.parametrize('owner', ['ROGLoss', 'RoILossPerExpert'])
def test_base_that_is_no_loss_of_a_box_head(cfg, owner):
    inner = dict(loss=cfg) if owner == 'ROGLoss' else dict(losses=[cfg])
    with pytest.raises(TypeError, match=f'{owner} accepts DetectionLoss.* but got {cfg["type"].split(".")[-1]}'):
        MODELS.build(dict(inner, type=f'ltmm.{owner}'))


def test_sum_is_refused():
    head, (score, _) = build(dict(type='ltmm.ROGLoss', loss=BASES['sigmoid'][0]))
    with pytest.raises(ValueError, match='`reduction_override`'):
        head.loss_cls(score, LABEL, reduction_override='sum')
