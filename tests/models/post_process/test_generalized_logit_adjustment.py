import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.models.post_process import GeneralizedLogitAdjustment, estimate_prior, read_logits
from ltmm.utils.predictions import write_predictions

from .conftest import Split

COUNTS = [500, 60, 20, 3]
Q = torch.tensor([0.05, 0.6, 0.25, 0.1], dtype=torch.float64)  # of pre-training


def sample(num, mix, prior, seed, scale=1.0):
    """Logits of the Bayes classifier of a prior, times a scale, and labels of a class mix."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.tensor(mix, dtype=torch.float64).multinomial(num, True, generator=generator)
    x = 1.5 * F.one_hot(label, 4).double() + torch.randn(num, 4, dtype=torch.float64, generator=generator)
    return scale * (1.5 * x + prior.log()), label  # x has the density exp(1.5 x_c) up to a factor


@pytest.mark.parametrize('mix', [(1, 1, 1, 1), (8, 1, 4, 2)], ids=['balanced', 'unbalanced'])
def test_estimate_prior_whatever_the_class_mix(mix):
    q = estimate_prior(*sample(40_000, mix, Q, 0))
    torch.testing.assert_close(q, Q, rtol=0.1, atol=0.005)
    assert q.sum() == pytest.approx(1)


def test_estimated_prior_is_the_optimum():
    logits, label = sample(200, (1, 1, 1, 1), Q, 1)
    mix = label.bincount().double().log()
    log_q = estimate_prior(logits, label).log().requires_grad_()
    F.cross_entropy(logits - log_q + mix, label).backward()
    assert log_q.grad.abs().max() < 1e-8


def test_class_without_samples_has_the_mean_of_the_others():
    logits, label = sample(2000, (1, 1, 1, 0), Q, 0)
    q = estimate_prior(logits, label)
    assert q.isfinite().all() and q[3] == pytest.approx(float(q[:3].log().mean().exp()))


def test_separable_validation_data_keep_the_temperatures_in_their_bounds(tmp_path):
    label = torch.arange(40) % 4
    logits = F.one_hot(label, 4).double()
    np.save(tmp_path / 'val.npy', logits.numpy())
    step = GeneralizedLogitAdjustment(dict(val=str(tmp_path / 'val.npy'), test='none'), class_counts=COUNTS)
    step.fit(None, Split(None, logits, label))
    assert 0.05 <= step.zero_shot_temperature < 0.06 and 0.05 <= step.temperature < 0.06


def test_class_without_validation_images_has_no_say_in_the_temperatures(tmp_path):
    logits, label = sample(500, (1, 1, 1, 0), Q, 0)
    temperatures = []
    for other in (0, 9):  # logit of the class without images
        logits[:, 3] = other
        np.save(tmp_path / 'val.npy', logits.numpy())
        step = GeneralizedLogitAdjustment(dict(val=str(tmp_path / 'val.npy'), test='none'), class_counts=COUNTS)
        step.fit(None, Split(None, logits, label))
        temperatures.append((step.temperature, step.zero_shot_temperature))
    assert temperatures[0] == pytest.approx(temperatures[1])


@pytest.fixture
def make(tmp_path):
    """A function from options to the correction, fitted, and test logits, zero-shot logits and labels."""

    def build(prior, **options):
        val, label = sample(4000, (1, 1, 1, 1), prior, 0)
        np.save(tmp_path / 'val.npy', sample(4000, (1, 1, 1, 1), Q, 0, scale=3)[0].numpy())
        files = dict(val=str(tmp_path / 'val.npy'), test=str(tmp_path / 'test.npy'))
        step = GeneralizedLogitAdjustment(files, class_counts=COUNTS, **options)
        step.fit(None, Split(None, val, label))
        return step, *(sample(4000, (1, 1, 1, 1), p, 5, s) for p, s in ((prior, 1), (Q, 3)))

    return build


@pytest.mark.parametrize(('balanced', 'subtracts'), [(False, None), (True, False)])
def test_joined_model_is_as_good_as_the_unbiased_one(make, balanced, subtracts):
    prior = torch.full((4,), 0.25).double() if balanced else torch.tensor(COUNTS).double() / sum(COUNTS)
    step, (fine_tuned, label), (zero_shot, _) = make(prior, subtracts_prior=subtracts)
    accuracy = {
        name: float((z.argmax(1) == label).double().mean())
        for name, z in dict(
            fine=fine_tuned,
            zero=zero_shot,
            joined=step.combine(fine_tuned, zero_shot),
            ideal=sample(4000, (1, 1, 1, 1), torch.full((4,), 0.25).double(), 5)[0],
        ).items()
    }
    assert accuracy['joined'] > accuracy['ideal'] - 0.005
    assert accuracy['ideal'] > accuracy['zero'] + 0.02
    assert step.zero_shot_prior.argmax() == 1 and step.zero_shot_temperature > 2


def test_formula(make):
    step, *_ = make(torch.tensor(COUNTS).double() / sum(COUNTS))
    fine_tuned, zero_shot = torch.randn(2, 5, 4)
    expected = fine_tuned / step.temperature - (torch.tensor(COUNTS) / sum(COUNTS)).log()
    expected = expected + zero_shot / step.zero_shot_temperature - step.zero_shot_prior.log()
    torch.testing.assert_close(step.combine(fine_tuned, zero_shot), expected, check_dtype=False)


def test_class_without_training_images_keeps_its_logit():
    step = GeneralizedLogitAdjustment(dict(val='a.npy', test='b.npy'), class_counts=[5, 0, 5])
    assert step.log_train_prior().tolist() == pytest.approx([np.log(0.5), 0, np.log(0.5)])


def test_read_logits_of_both_kinds(tmp_path):
    logits, label = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    np.save(tmp_path / 'z.npy', logits.float().numpy())
    samples = [dict(pred_score=p, gt_label=y[None]) for p, y in zip(logits.softmax(1), label)]
    write_predictions(samples, tmp_path / 'z.npz')
    torch.testing.assert_close(read_logits(tmp_path / 'z.npy', label, 4), logits, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(read_logits(tmp_path / 'z.npz', label, 4), logits.log_softmax(1))
    for path, labels, num, message in (
        ('z.npz', label.flip(0), 4, 'the labels of the dataset, in its order'),
        ('z.npy', label[:4], 4, r'shape \(4, 4\) in .*, but got \(5, 4\)'),
        ('no.npy', label, 4, 'no readable .npy or .npz file'),
    ):
        with pytest.raises(ValueError, match=message):
            read_logits(tmp_path / path, labels, num)
    np.save(tmp_path / 'z.npy', np.full((5, 4), np.nan))
    with pytest.raises(ValueError, match='finite'):
        read_logits(tmp_path / 'z.npy', label, 4)


def test_hook_cannot_hold_it(head):
    with pytest.raises(TypeError, match='--method gla, not a hook'):
        GeneralizedLogitAdjustment(dict(val='a', test='b')).attach(head)
