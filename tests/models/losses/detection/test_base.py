import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from toy_losses import prepare

from ltmm.models.losses import DetectionLoss
from ltmm.registry import MODELS

C = 4
SCORE = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.2, -4.0], [-2.0, 1.5, 0.0], [4.0, 0.0, 2.0]])
SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
RIDE = dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=0)
BALPOE = dict(type='ltmm.BalPoELoss', taus=(0.0, 1.0, 2.0))
LOSSES = dict(
    bags=dict(type='ltmm.BalancedGroupSoftmaxLoss', group_bounds=(10, 30), beta=1e6),
    sigmoid=SIGMOID,
    drop=dict(type='ltmm.DropLoss', lambda_=1e-9),  # draws nothing without a tail
    gol=dict(type='ltmm.DropLoss', lambda_=1e-9, activation='gumbel'),
    gumbel=dict(type='ltmm.GumbelCrossEntropyLoss'),
    efl=dict(type='ltmm.EqualizedFocalLoss'),
    eqfl=dict(type='ltmm.EqualizedQualityFocalLoss'),
    ecm=dict(type='ltmm.ECMLoss'),
    eql=dict(type='ltmm.EQLLoss', lambda_=0.1),
    eqlv2=dict(type='ltmm.EQLv2Loss'),
    federated=dict(type='ltmm.FederatedLoss', num_sampled_classes=4),  # batches below hold all labels
    seesaw=dict(type='ltmm.SeesawLoss'),
    fcbl=dict(type='ltmm.FCBLLoss'),
    rog=dict(type='ltmm.ROGLoss', loss=SIGMOID),
    experts=dict(type='ltmm.RoIExpertLoss', loss=BALPOE, num_experts=3),
    lgla_experts=dict(type='ltmm.RoIExpertLoss', loss=dict(type='ltmm.LGLALoss'), num_experts=3),
    sade_experts=dict(type='ltmm.RoIExpertLoss', loss=dict(type='ltmm.SADELoss'), num_experts=3),
    ride_experts=dict(type='ltmm.RoIExpertLoss', loss=RIDE, num_experts=3),
    per_expert=dict(type='ltmm.RoILossPerExpert', losses=[SIGMOID, dict(type='ltmm.SeesawLoss')]),
)
EACH = pytest.mark.parametrize('name', LOSSES)


def build(name):
    """Build the loss for C classes; return it with the width of the classifier."""
    loss = MODELS.build(LOSSES[name])
    width = loss.get_cls_channels(C)
    return prepare(loss, [40, 20, 5, 1], num_images=60), width


def batch(width, num=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, width, generator=generator), torch.randint(C + 1, (num,), generator=generator)


def total(value):
    return sum(value.values()) if isinstance(value, dict) else value


@pytest.mark.parametrize('name', ['bags', 'drop', 'ecm', 'eql', 'federated', 'seesaw'])
def test_another_number_of_classes_than_that_of_the_head(name):
    loss = MODELS.build(dict(LOSSES[name], num_classes=C - 1))
    with pytest.raises(ValueError, match=f'Loss has num_classes={C - 1}, but its head has {C}. Leave num_classes out'):
        loss.get_cls_channels(C)


@EACH
def test_large_logits(name):
    loss, width = build(name)
    score, label = batch(width)
    score = (1e4 * score).requires_grad_()
    value = total(loss(score, label))
    value.backward()
    assert value.isfinite() and score.grad.isfinite().all()
    assert all(state.isfinite().all() for state in loss.state_dict().values())


@EACH
@pytest.mark.parametrize('num', [0, 3])
def test_without_objects_the_graph_is_kept(name, num):
    loss, width = build(name)
    terms = loss(*batch(width))
    score = torch.zeros(num, width, requires_grad=True)
    value = loss(score, torch.full((num,), C), torch.ones(num), avg_factor=max(num, 1))
    assert not isinstance(terms, dict) or value.keys() == terms.keys()
    total(value).backward()
    assert score.grad.isfinite().all() and (num or total(value) == 0)


@EACH
def test_mixed_precision(name):
    (loss, width), (plain, _) = build(name), build(name)
    score, label = batch(width)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(score.bfloat16(), label)
    torch.testing.assert_close(value, plain(score.bfloat16().float(), label))
    torch.testing.assert_close(loss.state_dict(), plain.state_dict())


@EACH
def test_resume(name):
    (loss, width), (fresh, _) = build(name), build(name)
    loss(*batch(width))
    fresh.load_state_dict(loss.state_dict())
    torch.testing.assert_close(fresh(*batch(width, seed=1)), loss(*batch(width, seed=1)), rtol=0, atol=0)
    torch.testing.assert_close(fresh.state_dict(), loss.state_dict(), rtol=0, atol=0)


@EACH
def test_evaluation_leaves_the_state_alone(name):
    loss, width = build(name)
    before = {key: value.clone() for key, value in loss.eval().state_dict().items()}
    loss(*batch(width))
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


@EACH
def test_scores_are_of_all_classes(name):
    loss, width = build(name)
    scores = loss.get_activation(batch(width)[0])
    assert scores.shape == (16, C + 1) and (scores >= 0).all() and (scores <= 1).all()


@pytest.mark.parametrize('name', ['bags', 'sigmoid', 'drop', 'gol', 'gumbel', 'ecm', 'eql', 'eqlv2', 'federated'])
def test_no_synchronization(name):
    loss, width = build(name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        total(loss(torch.rand(5, width, requires_grad=True), torch.zeros(5, dtype=torch.long), avg_factor=5)).backward()


@EACH
def test_logits_of_another_width(name):
    loss, _ = build(name)
    with pytest.raises(ValueError, match=r'expected logits|shape \(2, 3\)'):
        loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize('name', ['bags', 'efl', 'eqlv2', 'seesaw', 'rog', 'experts'])
def test_without_a_head_the_number_of_classes_is_missing(name):
    with pytest.raises(RuntimeError, match='does not know the number of classes'):
        MODELS.build(LOSSES[name])(*batch(C + 1))


def test_sigmoid_scores():
    loss = DetectionLoss()
    scores = loss.get_activation(SCORE)
    assert loss.get_cls_channels(1203) == 1203 and (scores[:, 3] == 0).all()
    torch.testing.assert_close(scores[:, :3], 1 / (1 + (-SCORE).exp()))
    assert len(loss.get_activation(torch.tensor([[6.0, 7.0, 8.0]]).bfloat16()).unique()) == 4  # in float32


@pytest.mark.parametrize('label, accuracy', [([0, 1, 3, 0], 200 / 3), ([3, 3, 3, 3], 0)])
def test_accuracy_counts_objects_only(label, accuracy):
    assert DetectionLoss().get_accuracy(SCORE, torch.tensor(label))['acc_classes'] == pytest.approx(accuracy)


@pytest.mark.parametrize('name', ['efl', 'ecm', 'eql', 'eqlv2', 'federated'])
def test_dense_heads_compute_scores_themselves(name):
    loss = MODELS.build(LOSSES[name])
    assert loss.get_dense_channels(80) == 80
    assert not (loss.custom_cls_channels or loss.custom_activation or loss.custom_accuracy)
