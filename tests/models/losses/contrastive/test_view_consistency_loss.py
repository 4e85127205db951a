import pytest
import torch
from torch import Tensor

from ltmm.models.losses import LossInputs, ViewConsistencyLoss
from ltmm.models.losses.contrastive.view_consistency_loss import view_consistency
from ltmm.registry import MODELS

LABEL = torch.tensor([0, 2, 2])


def inputs(views: int = 2, dtype: torch.dtype = torch.float64) -> LossInputs:
    generator = torch.Generator().manual_seed(0)
    return LossInputs(LABEL, features=torch.randn(3 * views, 6, generator=generator).to(dtype).requires_grad_())


def objective(dtype: torch.dtype = torch.float64) -> ViewConsistencyLoss:
    return ViewConsistencyLoss(in_channels=6, feat_dim=4).to(dtype)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return sum(x * y for x, y in zip(a, b)) / (a.square().sum() * b.square().sum()).sqrt()


def test_equals_the_formula():
    loss, given = objective(), inputs()
    z = loss.projector(given.features)
    p = loss.predictor(z)
    expected = -sum(cosine(p[i], z[i + 3]) + cosine(p[i + 3], z[i]) for i in range(3)) / 3
    torch.testing.assert_close(loss(given)['loss_consistency'], expected)


def test_the_other_view_gets_no_gradient():
    projected, predicted = (torch.randn(2, 3, 4, requires_grad=True) for _ in range(2))
    view_consistency(projected, predicted)[1].backward()
    assert projected.grad is None
    assert predicted.grad.any(2).tolist() == [[False, True, False]] * 2


def test_gradient():
    projected = torch.randn(2, 3, 4, dtype=torch.float64)
    predicted = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: view_consistency(projected, p), predicted)


def test_equal_views_have_the_lowest_loss():
    x = torch.randn(3, 4).expand(2, 3, 4)
    torch.testing.assert_close(view_consistency(x, 5 * x), torch.full((3,), 2.0))


def test_features_of_zero_have_a_finite_gradient():
    x = torch.zeros(2, 3, 4, requires_grad=True)
    view_consistency(x, x).sum().backward()
    assert x.grad.isfinite().all()


def test_bfloat16_features_are_computed_in_float32():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = objective(torch.float32)(inputs(dtype=torch.bfloat16))['loss_consistency']
    assert loss.dtype == torch.float32 and loss.isfinite()


def test_a_batch_without_images():
    loss = objective()
    given = LossInputs(LABEL[:0], features=torch.zeros(0, 6, dtype=torch.float64, requires_grad=True))
    assert loss(given)['loss_consistency'] == 0


@pytest.mark.parametrize('views', [1, 3])
def test_another_number_of_views_is_refused(views):
    with pytest.raises(ValueError, match=f'expected 2 views of each image, but got {views}'):
        objective()(inputs(views))


def test_layers_start_as_those_of_pytorch():
    cfg = dict(type='ltmm.ViewConsistencyLoss', in_channels=64)
    head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=64, aux_losses=[cfg])
    head = MODELS.build(head)
    head.init_weights()
    assert head.fc.weight.std() < 0.02
    assert head.aux_losses[0].objective.projector.weight.std().item() == pytest.approx(1 / 3**0.5 / 8, rel=0.1)
