import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.utils import ClsDataPreprocessor

from ltmm import ClassDistribution
from ltmm.models.batch_augments import BATCH_AUGMENTS
from ltmm.models.batch_augments.remix import remix_label_share
from ltmm.models.batch_augments.unimix import unimix_partners, unimix_share
from ltmm.registry import MODELS

COUNTS = [400, 60, 3]
LABEL = torch.tensor([0, 0, 1, 0, 2, 1])
SCORE = F.one_hot(LABEL, 3)


def images() -> torch.Tensor:
    return torch.rand(len(LABEL), 3, 6, 4)


def build(name: str, **options) -> torch.nn.Module:
    return BATCH_AUGMENTS.build(dict(options, type=f'ltmm.{name}'))


@pytest.mark.parametrize('tau', [-2, -0.1, 0, 1.5])
def test_unimix_partners_come_as_often_as_their_weight(tau):
    counts = torch.tensor(COUNTS, dtype=torch.float64)[LABEL]
    grid = (torch.arange(60_000, dtype=torch.float64) + 0.5) / 60_000
    share = unimix_partners(counts, grid, tau).bincount(minlength=len(LABEL)) / 60_000
    torch.testing.assert_close(share.double(), counts**tau / (counts**tau).sum(), atol=1e-4, rtol=0)


def test_unimix_partners_of_extreme_weights_stay_in_the_batch():
    counts = torch.tensor([1e6, 1.0, 1e6], dtype=torch.float64)
    uniform = torch.tensor([0.0, 0.5, 1 - 1e-16], dtype=torch.float64)
    assert unimix_partners(counts, uniform, -200).tolist() == [1, 1, 1]
    assert unimix_partners(counts, uniform, 200).tolist() == [0, 2, 2]


def test_unimix_shares_are_centered_at_the_share_of_the_partner_class():
    beta = torch.tensor([0.0, 0.5, 0.5, 1.0])
    share = unimix_share(torch.tensor([9.0, 1, 9, 9]), torch.tensor([1.0, 9, 1, 1]), beta)
    torch.testing.assert_close(share, torch.tensor([0.1, 0.4, 0.6, 0.1]))


@pytest.mark.parametrize(
    ('share', 'ratio', 'expected'),
    [
        (0.4, (300, 100), 0.0),  # frequent image, of which less than half is seen
        (0.4, (299, 100), 0.4),
        (0.5, (300, 100), 0.5),
        (0.6, (300, 100), 0.6),
        (0.6, (100, 300), 1.0),  # the partner is frequent
        (0.6, (100, 299), 0.6),
        (0.4, (100, 300), 0.4),
    ],
)
def test_remix_label_share(share, ratio, expected):
    counts, partner_counts = (torch.tensor([count], dtype=torch.float64) for count in ratio)
    assert remix_label_share(share, counts, partner_counts, kappa=3, tau=0.5).tolist() == [expected]


@pytest.mark.parametrize('name', ['UniMix', 'Remix'])
def test_images_and_labels_are_mixed_row_by_row(name, monkeypatch):
    """The labels of the images are their first pixel; what is drawn is found by replaying the random numbers."""
    augment, inputs = build(name, class_counts=COUNTS), images()
    np.random.seed(1), torch.manual_seed(1)
    mixed, score = augment(inputs, SCORE)
    np.random.seed(1), torch.manual_seed(1)
    counts = [COUNTS[label] for label in LABEL]
    if name == 'UniMix':
        weight = np.array(counts) ** -0.1
        partner = np.random.choice(len(counts), len(counts), p=weight / weight.sum())
        shares = [
            b + counts[j] / (counts[i] + counts[j])
            for i, (b, j) in enumerate(zip(np.random.beta(0.8, 0.8, 6), partner))
        ]
        shares = label_shares = [share - (share > 1) for share in shares]
    else:
        shares, partner = [np.random.beta(1, 1)] * 6, torch.randperm(6).tolist()
        ratios = [counts[i] / counts[j] for i, j in enumerate(partner)]
        label_shares = [0 if s < 0.5 and r >= 3 else 1 if s > 0.5 and r <= 1 / 3 else s for s, r in zip(shares, ratios)]
    for i, j in enumerate(partner):
        torch.testing.assert_close(mixed[i], shares[i] * inputs[i] + (1 - shares[i]) * inputs[j])
        torch.testing.assert_close(
            score[i], label_shares[i] * SCORE[i].float() + (1 - label_shares[i]) * SCORE[j].float()
        )
    assert mixed.dtype == score.dtype == torch.float32
    torch.testing.assert_close(score.sum(1), torch.ones(6))


class Stream:
    """Patches that are all white, of class 2."""

    def __init__(self, shape=(3, 6, 4)) -> None:
        self.shape, self.epochs = shape, []

    def read(self, size, epoch):
        self.epochs.append(epoch)
        return torch.full((size, *self.shape), 9.0), torch.tensor([[0, 0, 1]]).repeat(size, 1)


def cmo(epoch: int = 100, max_epochs: int = 200, stream: Stream | None = None) -> torch.nn.Module:
    augment = build('CMO')
    augment.partners = stream or Stream()
    augment.set_progress(epoch, max_epochs)
    return augment


def test_cmo_labels_follow_the_pasted_area():
    augment, inputs = cmo(), images()
    before, shares = inputs.clone(), set()
    for _ in range(20):
        mixed, score = augment(inputs, SCORE)
        pasted = (mixed == 9).all(1)  # (N, H, W)
        assert torch.equal(pasted, pasted[:1].expand_as(pasted))  # one box
        assert torch.equal(mixed.masked_select(~pasted[:, None]), inputs.masked_select(~pasted[:, None]))
        share = 1 - pasted[0].double().mean().item()
        expected = share * SCORE.double() + (1 - share) * torch.tensor([0.0, 0, 1])
        torch.testing.assert_close(score, expected.float())
        shares.add(share)
    assert torch.equal(inputs, before) and len(shares) > 2


@pytest.mark.parametrize(('max_epochs', 'first', 'last'), [(200, 4, 196), (400, 8, 393), (20, 1, 18), (2, 1, 0)])
def test_epochs_of_cmo(max_epochs, first, last):
    augment, inputs = cmo(), images()
    on = []
    for epoch in range(max_epochs):
        augment.set_progress(epoch, max_epochs)
        augment.partners.epochs.clear()
        mixed, score = augment(inputs, SCORE)
        assert score.dtype == torch.float32
        on += augment.partners.epochs
        assert augment.partners.epochs or (torch.equal(mixed, inputs) and torch.equal(score, SCORE.float()))
    assert on == list(range(first, last + 1))


@pytest.mark.parametrize('max_epochs', [1, 2])
def test_warns_of_a_training_without_an_epoch_to_mix(max_epochs, monkeypatch):
    told = []
    monkeypatch.setattr('ltmm.models.state.progress.print_log', lambda text, **_: told.append(text))
    for name in ('ltmm.CMO', 'ltmm.Remix'):
        augment = BATCH_AUGMENTS.build(dict(type=name))
        for epoch in range(max_epochs):
            augment.set_progress(epoch, max_epochs)
    assert told == [f'CMO never mixes: no epoch of the {max_epochs} lies from start=0.02 to end=0.985.']


def test_class_without_images_and_one_class_batches():
    augment = build('UniMix', class_counts=[400, 0, 3])
    for label in (LABEL, LABEL * 0 + 1, LABEL[:1]):
        mixed, score = augment(torch.rand(len(label), 3, 6, 4), F.one_hot(label, 3))
        assert mixed.isfinite().all() and torch.allclose(score.sum(1), torch.ones(len(label)))


def test_mixed_labels_mix_the_losses_of_both_partners():
    """What the authors compute, for a loss with margins too."""
    augment, logits = build('UniMix', class_counts=COUNTS), torch.randn(6, 3, dtype=torch.float64)
    np.random.seed(3)
    partner, share = augment.draw(augment.counts_of(SCORE))
    np.random.seed(3)
    _, score = augment(images(), SCORE)
    for name in ('BayiasLoss', 'LDAMLoss'):
        loss = MODELS.build(dict(type=f'ltmm.{name}', class_counts=COUNTS, reduction='none'))
        expected = share * loss(logits, LABEL) + (1 - share) * loss(logits, LABEL[partner])
        torch.testing.assert_close(loss(logits, score.double()), expected, rtol=1e-6, atol=1e-6)


def test_beside_mixup_in_a_data_preprocessor():
    augments = [dict(type='Mixup', alpha=1.0), dict(type='ltmm.Remix', class_counts=COUNTS)]
    preprocessor = ClsDataPreprocessor(num_classes=3, batch_augments=dict(augments=augments, probs=[0.5, 0.5]))
    inputs = images()
    mixed, score = preprocessor.batch_augments(inputs, SCORE)
    assert not torch.equal(mixed, inputs) and score.shape == (6, 3)


@pytest.mark.parametrize(
    ('name', 'options', 'match'),
    [
        ('UniMix', dict(alpha=0), '`alpha`'),
        ('UniMix', dict(tau=float('nan')), '`tau`'),
        ('UniMix', dict(end=1.5), '`end`'),
        ('Remix', dict(kappa=0.5), '`kappa`'),
        ('Remix', dict(tau=1.5), '`tau`'),
        ('CMO', dict(start=0.5, end=0.5), '`start` below `end`'),
        ('CMO', dict(sampler='reversed'), r"`sampler` to be dict\(type=\.\.\.\), but got 'reversed'"),
    ],
)
def test_bad_argument(name, options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        build(name, **options)


def test_what_is_missing_is_named():
    with pytest.raises(RuntimeError, match='UniMix needs .*ClassDistributionHook'):
        build('UniMix')(images(), SCORE)
    with pytest.raises(ValueError, match='Remix: expected logits of 2 classes'):
        build('Remix', class_counts=[5, 3])(images(), SCORE)
    with pytest.raises(ValueError, match='one label per image'):
        build('Remix').set_class_distribution(ClassDistribution([5, 4], [5, 4], 6))
    augment = build('CMO')
    with pytest.raises(RuntimeError, match='ProgressHook'):
        augment(images(), SCORE)
    augment.set_progress(1, 3)
    with pytest.raises(RuntimeError, match='BatchAugmentHook'):
        augment(images(), SCORE)
    with pytest.raises(ValueError, match=r'one size, but got \(3, 6, 4\) and \(3, 5, 5\)'):
        cmo(stream=Stream((3, 5, 5)))(images(), SCORE)
