import numpy as np
import pytest
import torch
import torch.nn.functional as F

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
