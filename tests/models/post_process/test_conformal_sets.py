import math

import numpy as np
import pytest
import torch

from ltmm.evaluation.functional import set_coverage
from ltmm.models.post_process import ConformalSets, class_quantiles, conformal_quantile, nonconformity

from .conftest import Split

COUNTS = [500, 60, 20, 3]


def sample(num, seed, mix):
    """Logits of a model of the training prior, and labels with a class mix."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.tensor(mix, dtype=torch.float64).multinomial(num, True, generator=generator)
    means = 1.2 * torch.eye(4, dtype=torch.float64)
    x = means[label] + torch.randn(num, 4, dtype=torch.float64, generator=generator)
    density = -(x[:, None] - means).square().sum(2) / 2  # (num, 4)
    return Split(None, density + torch.tensor(COUNTS, dtype=torch.float64).log(), label)


@pytest.fixture
def split_with(head):
    def make(*args):
        split = sample(*args)
        split.head = head
        return split

    return make


@pytest.mark.parametrize('alpha', [0.05, 0.1, 0.3])
@pytest.mark.parametrize('mix', [(1, 1, 1, 1), COUNTS])
@pytest.mark.parametrize('score', ['prevalence', 'softmax'])
def test_coverage_holds_for_the_class_mix_of_the_validation_data(split_with, alpha, mix, score):
    step = ConformalSets(alpha, score, class_counts=COUNTS)
    coverage = []
    for seed in range(20):
        step.fit(None, split_with(400, seed, mix))
        test = split_with(1000, 100 + seed, mix)
        coverage.append(
            set_coverage(step.sets(test.logits, test.head).numpy(), test.label.numpy()).figures()['marginal']
        )
    error = math.sqrt(alpha * (1 - alpha) * (1 / 400 + 1 / 1000) / 20)
    assert 1 - alpha - 3 * error < np.mean(coverage) < 1 - alpha + 1 / 401 + 3 * error


def test_prevalence_covers_rare_classes_at_the_size_of_softmax_sets(split_with):
    val, test = split_with(4000, 0, COUNTS), split_with(4000, 1, [1, 1, 1, 1])

    def figures(score, alpha):
        """Lowest coverage of a class, and mean size of the sets."""
        step = ConformalSets(alpha, score, class_counts=COUNTS)
        step.fit(None, val)
        found = set_coverage(step.sets(test.logits, test.head).numpy(), test.label.numpy())
        return found.coverage.min(), found.figures()['size']

    lowest, size = figures('prevalence', 0.2)
    larger = (figures('softmax', alpha) for alpha in np.arange(0.2, 0, -0.01))
    lowest_softmax, size_softmax = next(found for found in larger if found[1] >= size)
    assert size <= size_softmax < 1.1 * size
    assert lowest > 0.75 > 0.25 > lowest_softmax


@pytest.mark.parametrize('alpha', [0.1, 0.3, 0.7])
def test_quantiles_by_counting(alpha):
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(60, generator=generator, dtype=torch.float64)
    label = torch.tensor([0] * 40 + [1] * 19 + [3])[torch.randperm(60, generator=generator)]
    for c, q in [(None, conformal_quantile(score, alpha)), *enumerate(class_quantiles(score, label, 4, alpha))]:
        own = score if c is None else score[label == c]
        need = (len(own) + 1) * (1 - alpha) - 1e-9
        candidates = [s for s in own if (own <= s).sum() >= need]
        assert q == (min(candidates) if candidates else math.inf)


def test_rank_does_not_suffer_from_rounding():
    score = torch.arange(1.0, 10)  # 10 * (1 - 0.7) = 3.0000000000000004
    assert conformal_quantile(score, 0.7) == 3


def test_class_share_mixes_the_thresholds(split_with):
    val = split_with(300, 0, COUNTS)
    val.label[val.label == 3] = 2  # no image of the last class
    thresholds = {}
    for share in (0, 0.25, 1):
        step = ConformalSets(0.1, class_share=share, class_counts=COUNTS)
        step.fit(None, val)
        thresholds[share] = step.threshold
    torch.testing.assert_close(thresholds[0.25], 0.75 * thresholds[0] + 0.25 * thresholds[1])
    assert thresholds[1][3] == 1 and step.sets(val.logits, val.head)[:, 3].all()
    assert len(set(thresholds[1].tolist())) == 4 and len(set(thresholds[0].tolist())) == 1


def test_few_validation_images_give_full_sets_and_a_warning(split_with, monkeypatch):
    told = []
    monkeypatch.setattr('ltmm.models.post_process.conformal_sets.print_log', lambda text, *_: told.append(text))
    step = ConformalSets(0.1, class_share=0.5, class_counts=COUNTS)
    val = split_with(8, 0, COUNTS)
    step.fit(None, val)  # 9 * 0.9 = 8.1 > 8
    assert step.sets(val.logits, val.head).all()
    assert '8 validation images are too few for alpha=0.1, at least 9 are needed' in told[0]


def test_class_without_training_images_counts_as_the_rarest():
    p = torch.tensor([[0.6, 0.3, 0.1]])
    expected = torch.tensor([[1 - 0.6 / 0.8, 1 - 0.3 / 0.2, 1 - 0.1 / 0.2]], dtype=torch.float64)
    got = nonconformity(p, torch.tensor([0.8, 0.2, 0.0], dtype=torch.float64))
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


def test_scores_have_the_device_of_the_logits(head):
    step = ConformalSets(class_counts=COUNTS)  # a second evaluation: the prior is on the GPU, the logits are not
    assert step._scores(torch.zeros(5, 4, device='meta'), head).device.type == 'meta'


def test_softmax_score_needs_no_class_distribution(split_with):
    val = split_with(300, 0, COUNTS)
    thresholds = []
    for options in (dict(class_counts=COUNTS), dict()):
        step = ConformalSets(0.2, 'softmax', **options)
        step.fit(None, val)
        assert step.sets(val.logits, val.head).any()
        thresholds.append(step.threshold)
    assert torch.equal(*thresholds)


def test_unfitted_and_other_classes_are_refused(head):
    step = ConformalSets(class_counts=COUNTS)
    with pytest.raises(RuntimeError, match='not fitted.*--method conformal'):
        step.sets(torch.zeros(1, 4), head)
    step.threshold = torch.zeros(3, dtype=torch.float64)
    with pytest.raises(ValueError, match='expected logits of 4 classes'):
        step.sets(torch.zeros(1, 3), head)


@pytest.mark.parametrize('field', ['pred_label', 'pred_score'])
def test_predictions_keep_their_class_and_get_a_set(split_with, head, features, field):
    val = split_with(200, 0, COUNTS)
    step = ConformalSets(0.2, class_counts=COUNTS)
    step.fit(None, val)
    before = head.predict((features,))
    step.attach(head)
    after = head.predict((features,))
    expected = step.sets(head.fc(features), head)
    assert expected.any() and not expected.all()
    for old, new, members in zip(before, after, expected):
        assert torch.equal(old.get(field), new.get(field))
        assert torch.equal(new.pred_set, members)
    step.enabled = False
    assert 'pred_set' not in head.predict((features,))[0]
