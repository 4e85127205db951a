"""Partition, estimate, noise, selection, average, local training, losses."""

import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from ltmm.models.losses import LossInputs
from ltmm.tasks.federated import (
    GBMELoss,
    LADELoss,
    ProxyNoise,
    class_growth,
    copy_state,
    dirichlet_partition,
    estimate_counts,
    fedavg,
    group_clients,
    in_place_growth,
    lade_regularizer,
    select_clients,
    select_from_group,
    total_counts,
    train_client,
    why_invalid,
)
from ltmm.utils.environment import EnvironmentProblem
from ltmm.utils.errors import InputError

LABELS = np.repeat(np.arange(5), (80, 40, 20, 10, 5))


@pytest.mark.parametrize('alpha', [0.1, 1.0, 100.0])
def test_partition_has_every_image_once(alpha):
    clients = dirichlet_partition(LABELS, 6, alpha, min_size=5)
    assert sorted(np.concatenate(clients)) == list(range(len(LABELS)))
    assert min(map(len, clients)) >= 5
    again = dirichlet_partition(LABELS, 6, alpha, min_size=5)
    assert all(np.array_equal(a, b) for a, b in zip(clients, again))


def test_large_alpha_gives_all_clients_the_same():
    clients = dirichlet_partition(np.repeat([0, 1], 500), 5, 1e5)
    counts = np.array([np.bincount(np.repeat([0, 1], 500)[c]) for c in clients])
    np.testing.assert_allclose(counts, 100, atol=5)


def test_partition_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match='at least 200 images'):
        dirichlet_partition(LABELS, 20, 0.5)
    with pytest.raises(InputError, match='No split'):
        dirichlet_partition(np.zeros(20, dtype=int), 3, 1e-3, min_size=6)
    with pytest.raises(InputError, match='`alpha`'):
        dirichlet_partition(LABELS, 2, 0.0)


def test_estimate_entry_by_entry():
    generator = torch.Generator().manual_seed(0)
    before, after = torch.randn(2, 4, 3, generator=generator), torch.randn(5, 2, 4, 3, generator=generator)
    sizes = torch.tensor([10, 100, 30, 7, 1000])
    found = estimate_counts(class_growth(before, after), sizes)
    for k in range(5):
        s = [
            max(sum(float((after[k, :, c, d] - before[:, c, d]).mean()) for d in range(3)), 0) or 1e-5 for c in range(4)
        ]
        assert found[k].tolist() == [round(x / sum(s) * int(sizes[k])) for x in s]
    assert total_counts(found).tolist() == [max(5, x) for x in found.sum(0).tolist()]


def test_client_that_sends_nan_counts_nothing():
    growth = torch.tensor([[1.0, 3.0], [float('nan'), 1.0], [float('inf'), 1.0]])
    assert estimate_counts(growth, torch.tensor([8, 8, 8])).tolist() == [[2, 6], [0, 0], [0, 0]]
    assert estimate_counts(torch.zeros(0, 2), torch.zeros(0)).shape == (0, 2)


def test_in_place_reference_drifts():
    generator = torch.Generator().manual_seed(0)
    before, after = torch.randn(3, 4, 3, generator=generator), torch.randn(2, 3, 4, 3, generator=generator)
    growth, left = in_place_growth(before, after)
    torch.testing.assert_close(growth[0], class_growth(before, after)[0])
    g0 = (before.mean(0) + before[1] + before[2]) / 3
    torch.testing.assert_close(growth[1], (after[1].mean(0) - g0).sum(1))
    torch.testing.assert_close(left, g0)


@pytest.mark.parametrize(('kind', 'std'), [('gaussian', 0.5), ('laplace', 0.5 * math.sqrt(2))])
def test_noise_has_its_scale_after_clipping(kind, std):
    growth = torch.full((20000, 2), 3.0)
    noisy = ProxyNoise(kind, multiplier=0.25, max_norm=2.0)(growth, torch.Generator().manual_seed(0))
    clipped = 2 / math.sqrt(2) if kind == 'gaussian' else 1.0
    torch.testing.assert_close(noisy.mean(0), torch.full((2,), clipped), atol=0.02, rtol=0)
    torch.testing.assert_close(noisy.std(0), torch.full((2,), std), atol=0.02, rtol=0)
    small = ProxyNoise(kind, multiplier=1e-9, max_norm=2.0)(torch.full((1, 2), 0.5))
    torch.testing.assert_close(small, torch.full((1, 2), 0.5))


def test_epsilon():
    assert ProxyNoise('laplace', multiplier=4.0).epsilon() == 0.5
    few, many = (ProxyNoise(multiplier=m).epsilon() for m in (20.0, 2.0))
    assert few < many
    z, delta = 1.0, 1e-5  # the bound of Renyi differential privacy, over all orders
    orders = np.linspace(1.01, 60, 4000)
    bound = orders / (2 * z**2) + np.log((orders - 1) / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    assert many == pytest.approx(bound.min(), rel=0.02)


def test_epsilon_names_the_extra(monkeypatch):
    monkeypatch.setattr('ltmm.utils.environment.find_spec', lambda name: None)
    with pytest.raises(EnvironmentProblem, match='extra federated'):
        ProxyNoise().epsilon()


def test_opacus_is_imported_late():
    assert 'ltmm.tasks.federated' in sys.modules
    assert not hasattr(sys.modules['ltmm.tasks.federated.proxy'], 'RDPAccountant')


@pytest.mark.parametrize('wrong', [dict(kind='uniform'), dict(multiplier=0.0), dict(max_norm=-1.0), dict(delta=1.0)])
def test_noise_refuses(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        ProxyNoise(**wrong)


def test_groups_go_from_frequent_to_rare():
    counts = np.array([[0, 9], [9, 0], [5, 5], [1, 8], [0, 0]])
    groups = group_clients(counts, counts.sum(0) * [10, 1], 3)
    assert [g.tolist() for g in groups] == [[1], [2, 3], [0, 4]]


def test_selection():
    generator = np.random.default_rng(0)
    assert sorted(select_clients(4, 9, generator)) == [0, 1, 2, 3]
    for _ in range(20):
        chosen = select_from_group([1, 4, 7], 12, 5, 0.8, generator).tolist()
        assert len({*chosen}) == 5
        assert {1, 4, 7} <= {*chosen}
        half = select_from_group([1, 4, 7, 8], 12, 5, 0.5, generator).tolist()
        assert len({*half[:2]} & {1, 4, 7, 8}) == 2
        assert len({*half}) == 5
    assert len(select_from_group([1, 4, 7], 9, 3, 0.8, np.random.RandomState(1), published=True)) == 2


def test_fedavg():
    states = [dict(w=torch.tensor([1.0, 2.0]), n=torch.tensor(3)), dict(w=torch.tensor([4.0, 8.0]), n=torch.tensor(4))]
    average = fedavg(states, [1, 2])
    torch.testing.assert_close(average['w'], torch.tensor([3.0, 6.0]))
    assert average['n'].item() == pytest.approx(11 / 3)
    with pytest.raises(InputError, match='positive weight'):
        fedavg([], [])


def test_why_invalid():
    reference = dict(w=torch.ones(2, 2), n=torch.tensor(1))
    assert why_invalid(dict(reference), reference) is None
    assert 'not finite' in why_invalid(dict(reference, w=torch.full((2, 2), torch.inf)), reference)
    assert 'shape (3,)' in why_invalid(dict(reference, w=torch.ones(3)), reference)
    assert 'other tensors' in why_invalid(dict(w=torch.ones(2, 2)), reference)


class Linear(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2, bias=False)

    def forward(self, inputs, data_samples, mode='loss'):
        return dict(loss=F.cross_entropy(self.fc(inputs), data_samples))


@pytest.mark.parametrize('proximal', [0.0, 0.7])
def test_local_training_step_by_step(proximal):
    torch.manual_seed(0)
    model = Linear()
    batches = [dict(inputs=torch.randn(4, 3), data_samples=torch.randint(2, (4,))) for _ in range(3)]
    start, wrapper = copy_state(model), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9))
    train_client(model, start, batches, wrapper, proximal=proximal)  # leaves momentum behind
    found = train_client(model, start, batches, wrapper, epochs=2, proximal=proximal)['fc.weight']

    weight = start['fc.weight'].clone().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.9)
    for batch in batches * 2:
        loss = F.cross_entropy(batch['inputs'] @ weight.T, batch['data_samples'])
        loss = loss + proximal / 2 * (weight - start['fc.weight']).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(found, weight.detach())
    assert not wrapper.optimizer._optimizer_step_pre_hooks


def test_client_without_batches_returns_what_it_got():
    model = Linear()
    start, wrapper = copy_state(model), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.5))
    torch.testing.assert_close(train_client(model, start, [], wrapper), start)


def test_gbme_loss_of_all_and_of_one_expert():
    torch.manual_seed(0)
    logits, label, counts = (
        torch.randn(3, 6, 4, dtype=torch.float64),
        torch.randint(4, (6,)),
        torch.tensor([50, 9, 2, 0]),
    )
    terms = [F.cross_entropy(z + (counts / counts.sum() + 1e-9).log().double(), label) for z in logits]
    loss = GBMELoss(class_counts=counts.tolist())
    torch.testing.assert_close(
        sum(loss(LossInputs(label, expert_logits=logits)).values()), sum(terms), rtol=1e-6, atol=0
    )
    loss.set_expert(1)
    torch.testing.assert_close(
        loss(LossInputs(label, expert_logits=logits))['loss_expert1'], 3 * terms[1], rtol=1e-6, atol=0
    )
    loss.expert_factor = 5
    torch.testing.assert_close(
        loss(LossInputs(label, expert_logits=logits))['loss_expert1'], 5 * terms[1], rtol=1e-6, atol=0
    )
    with pytest.raises(InputError, match='expert_factor'):
        GBMELoss(expert_factor=0.0)


def test_lade_entry_by_entry():
    torch.manual_seed(0)
    z, label, counts = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 0, 1, 2, 0, 1]), [50, 9, 2, 4]
    prior = torch.tensor(counts).double() / 65
    expected = 0.0
    for c in range(4):
        ratio = math.log(sum(math.exp(z[i, c]) / (4 * prior[c]) for i in range(6)) / 6)
        of_class = [float(z[i, c]) for i in range(6) if label[i] == c]
        expected -= prior[c] * ((sum(of_class) / len(of_class) if of_class else 0) - ratio - 0.01 * ratio**2)
    found = lade_regularizer(z, label, (prior + 1e-9).log(), prior, 0.01)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    ce = F.cross_entropy(z + (prior + 1e-9).log(), label)
    torch.testing.assert_close(LADELoss(class_counts=counts, alpha=0.3)(z, label), ce + 0.3 * found, rtol=1e-6, atol=0)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_losses_of_empty_classes_and_batches(dtype):
    logits = torch.randn(3, 5, 4).to(dtype).requires_grad_()
    label = torch.tensor([0, 1, 2, 0, 1])
    lade, gbme = LADELoss(class_counts=[9, 3, 1, 0]), GBMELoss(class_counts=[9, 3, 1, 0])
    (lade(logits[0], label) + sum(gbme(LossInputs(label, expert_logits=logits)).values())).backward()
    assert logits.grad.isfinite().all()
    empty = logits[:, :0]
    assert lade(empty[0], label[:0]).isfinite()
    assert all(term.isfinite() for term in gbme(LossInputs(label[:0], expert_logits=empty)).values())
