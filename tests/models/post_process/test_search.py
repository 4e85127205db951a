import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.engine.post_process import SplitOutputs
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import LogitAdjustment, TauNorm, TemperatureScaling
from ltmm.models.post_process.search import objective_value
from ltmm.utils.errors import InputError


@pytest.fixture
def data(head):
    """Logits that favour class 0 as much as its share of the training data, and the labels."""
    label = torch.arange(40) % 4
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(2))
    score = 2 * F.one_hot(label, 4) + torch.tensor([4.0, 2.0, 1.0, 0.0])
    return score.float(), features, label


def fit(step, data, head, strengths, objective=None):
    """Search the strength, and return the value of each."""
    score, features, label = data
    val = SplitOutputs(lambda with_logits: ModelOutputs(features, score, label), head)
    step.grid, step.objective = (strengths[0], strengths[-1], len(strengths)), objective or step.objective
    step.fit(None, val)
    best = getattr(step, step.strength)
    values = val.evaluate(step, strengths)
    setattr(step, step.strength, best)
    return values


def test_best_tau_removes_the_prior(head, data):
    prior = torch.softmax(torch.tensor([4.0, 2.0, 1.0, 0.0]), 0)
    step = LogitAdjustment(class_counts=(prior * 1e6).long().tolist())
    values = fit(step, data, head, [0.0, 1.0, 2.0])
    assert step.tau == 1.0 and values[1] == 100.0
    assert values[0] < 100 and values[2] < 100


def test_first_of_equally_good_strengths(head, data, monkeypatch):
    said = []
    monkeypatch.setattr('ltmm.models.post_process.base.print_log', lambda text, *_: said.append(text))
    step = TauNorm()
    score, features, label = data
    fit(step, (score, torch.zeros_like(features), label), head, [0.5, 1.0], 'top1')
    assert step.tau == 0.5
    assert said and 'widen it' not in ''.join(said)


@pytest.mark.parametrize(
    ('step', 'grid'), [(TauNorm(), (np.nan, 1)), (TauNorm(), (-1, 1)), (TemperatureScaling(), (0, 1))]
)
def test_grid_of_invalid_strengths(head, data, step, grid):
    with pytest.raises(InputError, match=f'Expected `{step.strength}` to be >'):
        fit(step, data, head, grid)


def test_temperature_of_least_nll(head, data):
    score, _, label = data
    step = TemperatureScaling()
    strengths = np.linspace(0.5, 4, 36)
    values = fit(step, data, head, strengths.tolist())
    naive = [float(F.cross_entropy(score / t, label)) for t in strengths]
    np.testing.assert_allclose(values, naive, rtol=1e-5)
    assert step.temperature == pytest.approx(strengths[np.argmin(naive)])


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_temperature_without_a_grid_is_the_optimum(head, data, use_sigmoid):
    score, features, label = data
    score = 1.5 * (score - 3 + torch.randn(40, 4, generator=torch.Generator().manual_seed(3)))
    if use_sigmoid:
        head = LongTailClsHead(4, 6, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=0.0))
    step = TemperatureScaling()
    val = SplitOutputs(lambda with_logits: ModelOutputs(features, score, label), head)
    step.fit(None, val)
    nll = [objective_value('nll', score / t / step.temperature, label, use_sigmoid) for t in (0.99, 1, 1.01)]
    assert min(nll) == nll[1] and step.temperature != pytest.approx(1, abs=0.02)
    step.objective = 'top1'
    with pytest.raises(ValueError, match="`objective` 'top1' needs a `grid`"):
        step.fit(None, val)


def test_balanced_accuracy_leaves_out_classes_without_samples():
    score = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]])
    label = torch.tensor([0, 0, 1, 1])
    assert objective_value('balanced_accuracy', score, label) == pytest.approx(75.0)
    assert objective_value('top1', score, label) == pytest.approx(75.0)


def test_wrong_objective_is_refused(data):
    score, _, label = data
    with pytest.raises(ValueError, match=r"one of \['balanced_accuracy', 'nll', 'top1'\], but got 'acc'"):
        objective_value('acc', score, label)


def test_nll_of_a_sigmoid_head(data):
    score, _, label = data
    expected = F.binary_cross_entropy_with_logits(score, F.one_hot(label, 4).float(), reduction='none').sum(1).mean()
    assert objective_value('nll', score, label, use_sigmoid=True) == pytest.approx(expected.item())
    head = LongTailClsHead(4, 6, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=0.0))
    values = fit(TemperatureScaling(), data, head, [1.0])
    assert values == pytest.approx([expected.item()])


def test_search_on_ldam_uses_the_scaled_logits():
    counts, label = [500, 60, 20, 3], torch.arange(40) % 4
    loss = dict(type='ltmm.LDAMLoss', scale=30.0)
    head = LongTailClsHead(4, 5, classifier=dict(type='ltmm.NormedLinear'), loss=loss).eval()
    head.fc.weight.data = torch.eye(4, 5)
    cosine = 0.1 * F.one_hot(label, 4) + torch.tensor(counts).log() / 30  # (N, C), head classes ahead by their prior
    features = torch.cat([cosine, (1 - cosine.square().sum(1, keepdim=True)).sqrt()], dim=1)  # of length 1
    step = LogitAdjustment(class_counts=counts)
    values = fit(step, (head((features,)), features, label), head, [0.0, 1.0, 2.0])
    assert step.tau == 1.0 and values[1] == 100.0 and values[0] < 100
