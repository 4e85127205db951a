"""LMR head: formulas against naive versions, hidden keys, the bank, mixing, evaluation."""

from unittest import mock

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from toy_ranks import on_ranks

from ltmm.models.heads import LMRHead
from ltmm.models.heads.lmr_head import reconstruction_shares
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

COUNTS = [500, 100, 40, 21, 20, 6]
LABEL = torch.tensor([0, 1, 2, 3, 4, 5, 1])


def build(counts=COUNTS, **options):
    cfg = dict(type='ltmm.LMRHead', num_classes=len(counts), in_channels=8, class_counts=counts)
    cfg |= dict(loss=dict(type='mmpretrain.CrossEntropyLoss'))
    return MODELS.build(cfg | options).double()


def features(num_rows=len(LABEL), seed=0):
    return torch.randn(num_rows, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def samples(label):
    return [DataSample().set_gt_label(value) for value in label.tolist()]


def naive(x, label, keys, key_label, own, share, few):
    """Row by row, key by key."""
    rows = []
    for i in range(len(x)):
        q, scores, values = (x[i] - x[i].mean()) / (x[i].var(unbiased=False) + 1e-5).sqrt(), [], []
        for m in range(len(keys)):
            if m != own[i] and int(key_label[m]) not in few:
                k = (keys[m] - keys[m].mean()) / (keys[m].var(unbiased=False) + 1e-5).sqrt()
                scores.append((q * k).sum() / len(q))
                values.append(keys[m])
        weight = torch.stack(scores).softmax(0)
        rebuilt = sum(w * v for w, v in zip(weight, values))
        c = share[label[i]]
        rows.append(c * rebuilt + (1 - c) * x[i])
    return torch.stack(rows)


def test_shares():
    counts = np.array(COUNTS)
    shares = reconstruction_shares(counts, 0.25, 1.5, 0.1, 0.6)
    inverse = [1 / np.log(0.25 * n + 1.5) for n in COUNTS]
    expected = [0.1 + 0.5 * (t - min(inverse)) / (max(inverse) - min(inverse)) for t in inverse]
    np.testing.assert_allclose(shares, expected, rtol=1e-12)
    assert (np.diff(shares) > 0).all() and shares[0] == pytest.approx(0.1) and shares[-1] == pytest.approx(0.6)


def test_shares_of_equal_and_missing_classes():
    np.testing.assert_array_equal(reconstruction_shares(np.array([30, 30]), 0.25, 1.5, 0.1, 0.6), [0.1, 0.1])
    shares = build([0, 90, 6]).share
    assert shares.isfinite().all() and shares[0] == shares[2] == pytest.approx(0.6)


def test_small_logarithms_are_refused():
    with pytest.raises(InputError, match='Expected scale . count . epsilon > 1 .* 0.62 for the rarest one, of 5'):
        build([50, 5], scale=0.1, epsilon=0.12)


def test_reconstruction_equals_a_loop():
    head, x = build(), features().requires_grad_()
    expected = naive(x, LABEL, x, LABEL, range(len(x)), head.share, few={4, 5})
    got = head.reconstruct(x, LABEL)
    torch.testing.assert_close(got, expected)
    target = features(seed=1)
    grads = [torch.autograd.grad((value * target).sum(), x)[0] for value in (got, expected)]
    torch.testing.assert_close(*grads)
    assert torch.autograd.gradcheck(lambda value: head.reconstruct(value, LABEL), x)


def test_tail_moves_further_than_head():
    head, x = build(), features()
    moved = (head.reconstruct(x, LABEL) - x).norm(dim=1)
    torch.testing.assert_close(moved[0], torch.zeros_like(moved[0]))
    assert moved[5] > moved[1]


@pytest.mark.parametrize('label', [[4, 5, 5], [0], []], ids=['all few-shot', 'alone', 'empty'])
def test_without_keys_the_features_stay(label):
    head, x, label = build(min_share=0.3), features(len(label)).requires_grad_(), torch.tensor(label, dtype=torch.long)
    rebuilt = head.reconstruct(x, label)
    torch.testing.assert_close(rebuilt, x)
    rebuilt.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_bank_of_two_batches():
    head, first, second, third = build(bank_size=10), features(7, 1), features(7, 2), features(2, 3)
    head.reconstruct(first, LABEL)
    x = second.clone().requires_grad_()
    got = head.reconstruct(x, LABEL)
    keys, labels = torch.cat([first[4:], second]), torch.cat([LABEL[4:], LABEL])
    torch.testing.assert_close(got, naive(x, LABEL, keys, labels, range(3, 10), head.share, {4, 5}))
    got[5].sum().backward()
    assert x.grad[5].any() and not x.grad[[0, 1, 2, 3, 4, 6]].any()  # the bank has no gradient
    got = head.reconstruct(third, LABEL[:2])
    keys, labels = torch.cat([first[6:], second, third]), torch.cat([LABEL[6:], LABEL, LABEL[:2]])
    torch.testing.assert_close(got, naive(third, LABEL[:2], keys, labels, (8, 9), head.share, {4, 5}))


def test_authors_mask_hides_the_oldest():
    head, first, second = build(bank_size=14, authors_mask=True), features(7, 1), features(7, 2)
    expected = naive(first, LABEL, first, LABEL, range(7), head.share, {4, 5})
    torch.testing.assert_close(head.reconstruct(first, LABEL), expected)  # in the first step these are the same
    keys, labels = torch.cat([first, second]), torch.cat([LABEL, LABEL])
    expected = naive(second, LABEL, keys, labels, range(7), head.share, {4, 5})
    torch.testing.assert_close(head.reconstruct(second, LABEL), expected)


def test_authors_mask_shows_all_where_all_is_hidden():
    x, label = features(2), torch.tensor([4, 5])
    head = build(authors_mask=True)
    query = torch.nn.functional.layer_norm(x, (8,))
    share = head.share[label][:, None]
    expected = share * (query @ query.T / 8).softmax(1) @ x + (1 - share) * x
    torch.testing.assert_close(head.reconstruct(x, label), expected)


def test_bank_resumes():
    head, other = build(bank_size=10), build(bank_size=10)
    head.reconstruct(features(seed=1), LABEL)
    other.load_state_dict(head.state_dict())
    assert torch.equal(head.reconstruct(features(), LABEL), other.reconstruct(features(), LABEL))
    assert torch.equal(head.bank.features, other.bank.features)


def test_mixing():
    head, x = build(), features(4)
    draws = torch.tensor([1, 1, 0, 2]), torch.tensor([0.25, 0.5, 1.0, 0.0]).double()
    with mock.patch.object(LMRHead, 'draw', lambda *args: draws):
        mixed, score = head.mix(x, torch.tensor([5, 1, 2, 3]))
    torch.testing.assert_close(mixed, torch.stack([0.25 * x[0] + 0.75 * x[1], x[1], x[2], x[2]]))
    expected = torch.zeros(4, 6, dtype=torch.float64)
    expected[0, [5, 1]], expected[1, 1], expected[2, 2], expected[3, 2] = torch.tensor([0.25, 0.75]).double(), 1, 1, 1
    torch.testing.assert_close(score, expected)


@pytest.mark.parametrize('mix_prob', [0.0, 0.3, 1.0])
def test_draws(mix_prob):
    torch.manual_seed(0)
    partner, share = build(mix_prob=mix_prob).draw(5000, torch.device('cpu'))
    is_mixed = share < 1
    assert is_mixed.double().mean() == pytest.approx(mix_prob, abs=0.03)
    assert partner.min() == 0 and partner.max() == 4999
    if mix_prob:
        assert share[is_mixed].mean() == pytest.approx(0.5, abs=0.03)


def test_loss_is_of_mixed_features():
    head, x = build(mix_prob=1.0), features()
    torch.manual_seed(3)
    losses = head.loss((x,), samples(LABEL))
    torch.manual_seed(3)
    mixed, score = head.mix(head.reconstruct(x, LABEL), LABEL)
    torch.testing.assert_close(losses['loss'], -(score * head.fc(mixed).log_softmax(1)).sum(1).mean())


def test_turned_off_it_is_the_plain_head():
    head = build(max_share=0, mix_prob=0.0)
    plain = MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=6, in_channels=8)).double()
    plain.fc.load_state_dict(head.fc.state_dict())
    torch.testing.assert_close(head.loss((features(),), samples(LABEL)), plain.loss((features(),), samples(LABEL)))


def test_evaluation_is_plain():
    head, x = build(bank_size=10).eval(), features()
    torch.testing.assert_close(head((x,)), head.fc(x))
    expected = torch.nn.functional.cross_entropy(head.fc(x), LABEL)
    torch.testing.assert_close(head.loss((x,), samples(LABEL))['loss'], expected)
    assert not head.bank.num_filled


def test_mixed_precision_reconstructs_in_float32():
    head, x = build().float(), features().bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        got = head.reconstruct(x, LABEL)
        assert head.loss((x,), samples(LABEL))['loss'].isfinite()
    torch.testing.assert_close(got, head.reconstruct(x.float(), LABEL), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('bank_size', [0, 14])
def test_two_ranks_are_one(tmp_path, bank_size):
    rows = slice(0, 4), slice(4, 7)

    def run(rank):
        head = build(bank_size=bank_size)
        return [head.reconstruct(features(seed=seed)[rows[rank]], LABEL[rows[rank]]) for seed in (0, 1)]

    head = build(bank_size=bank_size)
    first, second = on_ranks(run, tmp_path)
    for seed in (0, 1):
        torch.testing.assert_close(torch.cat([first[seed], second[seed]]), head.reconstruct(features(seed=seed), LABEL))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(scale=0), 'Expected `scale` to be > 0'),
        (dict(max_share=1.5), r'Expected `max_share` to be in \[0, 1\]'),
        (dict(min_share=0.7), 'Expected min_share <= max_share'),
        (dict(bank_size=-1), 'Expected `bank_size` to be int >= 0'),
        (dict(mix_prob=2), 'Expected `mix_prob`'),
        (dict(cal_acc=True), 'leave cal_acc and cls_views out'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_bad_batches():
    head, x = build(), features()
    with pytest.raises(InputError, match='one view, but got 7 features of 3 images'):
        head.loss((x,), samples(LABEL[:3]))
    soft = [DataSample().set_gt_score(torch.full((6,), 1 / 6)) for _ in LABEL]
    with pytest.raises(InputError, match='Leave Mixup and CutMix out'):
        head.loss((x,), soft)
