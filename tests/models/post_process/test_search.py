import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import LogitAdjustment, NearestClassMean, TauNorm, TemperatureScaling
from ltmm.models.post_process.search import objective_value, search_strength


@pytest.fixture
def data(head):
    """Logits that favour class 0 as much as its share of the training data, and the labels."""
    label = torch.arange(40) % 4
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(2))
    score = 2 * F.one_hot(label, 4) + torch.tensor([4.0, 2.0, 1.0, 0.0])
    return score.float(), features, label


def test_it_finds_the_strength_that_undoes_the_prior(head, data):
    score, features, label = data
    prior = torch.softmax(torch.tensor([4.0, 2.0, 1.0, 0.0]), 0)
    step = LogitAdjustment(class_counts=(prior * 1e6).long().tolist())
    strengths = [0.0, 1.0, 3.0]
    values = search_strength(step, score, features, label, head, strengths, 'balanced_accuracy')
    assert step.tau == 1.0 and values[1] == 100.0
    assert values[0] < 100 and values[2] < 100


def test_of_equally_good_strengths_the_first_is_taken(head, data):
    step = TauNorm()
    score, features, label = data
    search_strength(step, score, torch.zeros_like(features), label, head, [0.5, 1.0], 'top1')
    assert step.tau == 0.5


def test_the_temperature_is_the_one_of_least_surprise(head, data):
    score, features, label = data
    step = TemperatureScaling()
    strengths = np.linspace(0.5, 4, 36)
    values = search_strength(step, score, features, label, head, strengths, 'nll')
    naive = [float(F.cross_entropy(score / t, label)) for t in strengths]
    np.testing.assert_allclose(values, naive, rtol=1e-5)
    assert step.temperature == strengths[np.argmin(naive)]


def test_balanced_accuracy_leaves_out_classes_without_samples():
    score = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]])
    label = torch.tensor([0, 0, 1, 1])
    assert objective_value('balanced_accuracy', score, label) == pytest.approx(75.0)
    assert objective_value('top1', score, label) == pytest.approx(75.0)


def test_wrong_objectives_and_corrections_without_strength_are_refused(head, data):
    score, features, label = data
    with pytest.raises(ValueError, match=r"one of \['balanced_accuracy', 'nll', 'top1'\], but got 'acc'"):
        objective_value('acc', score, label)
    with pytest.raises(ValueError, match='NearestClassMean has no strength to search'):
        search_strength(NearestClassMean(), score, features, label, head, [1.0], 'top1')


def test_the_likelihood_of_a_sigmoid_head_is_that_of_its_sigmoids(data):
    score, features, label = data
    expected = F.binary_cross_entropy_with_logits(score, F.one_hot(label, 4).float(), reduction='none').sum(1).mean()
    assert objective_value('nll', score, label, use_sigmoid=True) == pytest.approx(expected.item())
    head = LongTailClsHead(4, 6, loss=dict(type='ltmm.SigmoidFocalLoss', gamma=0.0))
    values = search_strength(TemperatureScaling(), score, features, label, head, [1.0], 'nll')
    assert values == pytest.approx([expected.item()])


def test_a_search_on_ldam_is_of_the_logits_it_was_trained_with():
    counts, label = [500, 60, 20, 3], torch.arange(40) % 4
    loss = dict(type='ltmm.LDAMLoss', scale=30.0)
    head = LongTailClsHead(4, 5, classifier=dict(type='ltmm.NormedLinear'), loss=loss).eval()
    head.fc.weight.data = torch.eye(4, 5)
    cosine = 0.1 * F.one_hot(label, 4) + torch.tensor(counts).log() / 30  # (N, C), head classes ahead by their prior
    features = torch.cat([cosine, (1 - cosine.square().sum(1, keepdim=True)).sqrt()], dim=1)  # of length 1
    step = LogitAdjustment(class_counts=counts)
    values = search_strength(step, head((features,)), features, label, head, [0.0, 1.0, 2.0], 'balanced_accuracy')
    assert step.tau == 1.0 and values[1] == 100.0 and values[0] < 100
