"""On Gaussian blobs, GBME beats the proxy prior and local priors, which beat cross entropy."""

import numpy as np
import pytest
import torch
from torch import nn

from ltmm.models.losses import LossInputs
from ltmm.tasks.federated import (
    GBMELoss,
    class_growth,
    client_class_counts,
    dirichlet_partition,
    estimate_counts,
    fedavg,
    group_clients,
    select_clients,
    select_from_group,
    total_counts,
)

NUM_CLASSES, NUM_CLIENTS, PER_ROUND, ROUNDS, NUM_EXPERTS = 10, 20, 5, 25, 3
COUNTS = [int(400 * 100 ** (-c / 9)) for c in range(NUM_CLASSES)]  # imbalance factor 100


class Blobs:
    """Blobs around class means in 16 dimensions, cut off at 0 as by a ReLU, at clients; experts are linear layers."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)
        self.means = 1.5 * self.generator.normal(size=(NUM_CLASSES, 16))
        self.labels = np.repeat(np.arange(NUM_CLASSES), COUNTS)
        self.x, self.y = self.draw(self.labels)
        self.clients = dirichlet_partition(self.labels, NUM_CLIENTS, 0.5, 10, seed)
        self.counts = torch.from_numpy(client_class_counts(self.labels, self.clients, NUM_CLASSES))
        self.sizes = self.counts.sum(1)
        torch.manual_seed(seed)
        start = [nn.Linear(16, NUM_CLASSES) for _ in range(NUM_EXPERTS)]
        self.start = dict(
            weight=torch.stack([x.weight.detach() for x in start]), bias=torch.stack([x.bias.detach() for x in start])
        )

    def draw(self, labels):
        x = self.means[labels] + self.generator.normal(size=(len(labels), 16))
        return torch.from_numpy(x).float().relu(), torch.from_numpy(labels)

    def logits(self, state, x):
        return torch.einsum('nd,ecd->enc', x, state['weight']) + state['bias'].unsqueeze(1)

    def local(self, state, client, loss, expert=None, lr=0.1, batch_size=32):
        """One epoch of SGD with momentum."""
        state = {name: value.clone().requires_grad_() for name, value in state.items()}
        velocity = {name: torch.zeros_like(value) for name, value in state.items()}
        rows = torch.from_numpy(self.generator.permutation(self.clients[client]))
        for batch in rows.split(batch_size):
            logits = self.logits(state, self.x[batch])
            if isinstance(loss, GBMELoss):
                value = sum(loss(LossInputs(self.y[batch], expert_logits=logits)).values())
            else:
                value = loss(logits.mean(0), self.y[batch])
            for (name, w), grad in zip(state.items(), torch.autograd.grad(value, list(state.values()))):
                velocity[name].mul_(0.9).add_(grad)
                w.data.sub_(velocity[name] * lr)
        return {name: value.detach() for name, value in state.items()}

    def estimate(self):
        plain = nn.functional.cross_entropy
        after = torch.stack([self.local(self.start, k, plain)['weight'] for k in range(NUM_CLIENTS)])
        return estimate_counts(class_growth(self.start['weight'], after), self.sizes)

    def train(self, method):
        """Return the mean accuracy over the classes."""
        state, found = self.start, self.estimate()
        total = total_counts(found)
        own = [self.loss(counts.clamp(min=0.1)) for counts in self.counts]
        common = self.loss(torch.ones(NUM_CLASSES) if method == 'ce' else total)
        groups = group_clients(found.numpy(), total.numpy(), NUM_EXPERTS)
        for r in range(ROUNDS):
            turns = [(None, select_clients(NUM_CLIENTS, PER_ROUND, self.generator))]
            if method == 'gbme' and r >= int(0.6 * ROUNDS):
                turns = [
                    (e, select_from_group(group, NUM_CLIENTS, PER_ROUND, 0.8, self.generator))
                    for e, group in enumerate(groups)
                ]
            for expert, clients in turns:
                states = []
                common.set_expert(expert)
                for k in clients:
                    states.append(self.local(state, k, own[k] if method == 'local' else common))
                state = fedavg(states, self.sizes[clients].tolist())
        x, y = self.draw(np.repeat(np.arange(NUM_CLASSES), 100))
        return 100 * (self.logits(state, x).mean(0).argmax(1) == y).float().mean().item()

    def loss(self, prior):
        return GBMELoss(class_counts=(10 * prior).round().long().tolist())


def test_ordering():
    figures = {}
    for seed in range(3):
        for method in ('ce', 'local', 'proxy', 'gbme'):
            figures.setdefault(method, []).append(Blobs(seed).train(method))
    means = {method: np.mean(values) for method, values in figures.items()}
    # local priors are as good as the true total here, and better than the proxy
    assert means['gbme'] > means['local'] > means['ce'], figures
    assert means['gbme'] > means['proxy'] > means['ce'] + 5, figures


@pytest.mark.parametrize('seed', range(3))
def test_estimates_resemble_the_counts(seed):
    blobs = Blobs(seed)
    found = blobs.estimate().double()
    cosines = torch.cosine_similarity(found, blobs.counts.double())
    assert cosines.mean() > 0.9
    assert torch.cosine_similarity(found.sum(0), blobs.counts.sum(0).double(), dim=0) > 0.97
