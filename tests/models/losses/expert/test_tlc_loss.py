import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from toy_losses import expert_terms

from ltmm.models.losses import TLCLoss
from ltmm.models.losses.expert import evidential_weights
from ltmm.models.losses.expert.tlc_loss import dirichlet_kl, engagement

COUNTS = [200, 50, 10, 2]
LABEL = torch.tensor([0, 1, 2, 3, 0, 1])


def tlc(epoch: int = 0, **options) -> TLCLoss:
    settings = dict(kl_epochs=50, reweight_factor=0.05, reweight_epoch=160, class_counts=COUNTS)
    loss = TLCLoss(**{**settings, **options})
    loss.set_progress(epoch, 200)
    return loss


def uniform(num_classes: int, dtype: torch.dtype) -> Dirichlet:
    return Dirichlet(torch.ones(num_classes, dtype=dtype))


def naive(logits: Tensor, prediction: Tensor, epoch: int) -> Tensor:
    """The formula, expert by expert and image by image."""
    n = torch.tensor(COUNTS, dtype=logits.dtype)
    margin = 0.5 * (n.min() / n) ** 0.25
    weight, temperature = torch.ones(2, len(n), dtype=logits.dtype)
    if epoch >= 160:
        weight = (1 - 0.9999) / (1 - 0.9999**n)
        weight = weight / weight.mean()
        temperature = 0.05 * len(n) * n / n.sum() + 0.95
        temperature = temperature / temperature.max()
    total, engaged = 0, evidential_weights(logits)
    for z, w in zip(logits, engaged):
        losses = []
        for i in (w / w.max() > 0.54).nonzero().flatten().tolist():
            y = LABEL[i]
            x = z[i] - 30 * margin[y] * F.one_hot(y, len(n))
            alpha = torch.where(F.one_hot(y, len(n)) == 1, 1, x.exp() + 1)
            q, p = ((v[i] / temperature).softmax(0) for v in (prediction, z))
            losses.append(
                -weight[y] * x.log_softmax(0)[y]
                + (epoch + 1) / 50 * kl_divergence(Dirichlet(alpha), uniform(len(n), x.dtype))
                - 0.01 * temperature.mean() ** 2 * (q * (q / p).log()).sum()
            )
        total += sum(losses) / len(losses)
    return total


@pytest.mark.parametrize('epoch', [0, 159, 160])
def test_formula(epoch):
    logits, prediction = 2 * torch.randn(3, 6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    terms = expert_terms(tlc(epoch), logits, LABEL, cls_score=prediction)
    assert set(terms) == {'loss_cls', 'loss_kl', 'loss_diversity'}
    torch.testing.assert_close(sum(terms.values()), naive(logits, prediction, epoch))


@pytest.mark.parametrize('scale', [0.1, 1, 3, 10, 100])
def test_kl_divergence_of_a_dirichlet_distribution(scale):
    alpha = 1 + (scale * torch.rand(5, 8, dtype=torch.float64)).exp()
    alpha[0, 0] = 1
    expected = kl_divergence(Dirichlet(alpha.log().clamp(max=8).exp()), uniform(8, torch.float64))
    torch.testing.assert_close(dirichlet_kl(alpha.log().clamp(max=8)), expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(dirichlet_kl(torch.zeros(8)), torch.tensor(0.0), rtol=0, atol=1e-5)


def test_kl_divergence_in_float32():
    """The naive formula is off by 1e6 and has no gradient here."""
    values = []
    for dtype in (torch.float64, torch.float32):
        logits = torch.linspace(-30, 30, 100, dtype=dtype).requires_grad_()
        value = dirichlet_kl(F.softplus(logits))
        value.backward()
        values.append((value.detach().float(), logits.grad.float()))
    torch.testing.assert_close(values[1], values[0], rtol=1e-4, atol=1e-5)
    alpha = 1 + torch.linspace(-30, 30, 100).exp()
    assert abs(kl_divergence(Dirichlet(alpha), uniform(100, torch.float32)) - values[0][0]) > 1e4


def test_kl_divergence_of_one_large_concentration():
    """With one class of concentration a, the distribution is Beta(a, C - 1) in it: exact by its density."""
    log_alpha = torch.zeros(4, dtype=torch.float64)
    log_alpha[0] = 60.0
    # ln B(1, 3) - ln B(a, 3) + (a - 1)(psi(a) - psi(a + 3)) with B(a, 3) = 2 / (a (a + 1) (a + 2)), up to 1 / a
    torch.testing.assert_close(dirichlet_kl(log_alpha).item(), 3 * 60 - math.log(6) - 3)


def test_engagement():
    logits = torch.zeros(3, 2, 4)
    logits[0, 0, 1] = 20  # the first expert is sure of the first image
    assert engagement(logits, 0.54).tolist() == [[True, True], [False, True], [False, True]]
    assert engagement(logits[:, :0], 0.54).shape == (3, 0)
    assert engagement(1e4 * torch.randn(3, 5, 4), 0.54).any(1).all()


def test_experts_learn_only_where_engaged():
    logits = torch.zeros(2, 2, 4)
    logits[0, 0, 1] = 20
    logits.requires_grad_()
    sum(expert_terms(tlc(), logits, torch.tensor([1, 2]), cls_score=torch.randn(2, 4)).values()).backward()
    assert not logits.grad[1, 0].any() and logits.grad[1, 1].any() and logits.grad[0].any(1).all()


def test_no_gradient_through_prediction_and_weights():
    logits, prediction = torch.randn(3, 6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    expert_terms(tlc(), logits, LABEL, cls_score=prediction)['loss_diversity'].backward()
    assert prediction.grad is None and logits.grad.any()
