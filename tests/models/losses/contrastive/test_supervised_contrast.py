import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from toy_losses import train_features

from ltmm.models.losses import KCLLoss, LossInputs, SubclassBalancedContrastiveLoss, SupConLoss
from ltmm.models.losses.contrastive.kcl_loss import sample_positives
from ltmm.models.losses.contrastive.supervised_contrast import (
    contrast_with_queue,
    contrast_with_views,
    supervised_contrast,
)
from ltmm.models.state import FeatureQueue

D = 5
COUNTS = [60, 25, 0, 7]
SBCL = dict(warmup_epochs=1, interval=2, min_size=5)
CLASSES = [(SupConLoss, {}), (KCLLoss, dict(num_positives=2)), (SubclassBalancedContrastiveLoss, SBCL)]
LABEL, SAMPLES = torch.tensor([0, 0, 1, 3]), torch.tensor([3, 40, 62, 90])


def build(cls: type, epoch: int = 1, **options):
    loss = cls(in_channels=D, feat_dim=6, **options)
    if isinstance(loss, SubclassBalancedContrastiveLoss):
        loss.set_progress(epoch, 4)
        if loss.needs_train_features(epoch):
            outputs = train_features(COUNTS)
            loss.on_train_features(replace(outputs, key_features=outputs.features))
    return loss


def inputs(views: int = 2, scale: float = 1.0, keys: bool = False) -> LossInputs:
    generator = torch.Generator().manual_seed(1)
    features, key = (scale * torch.randn(len(LABEL) * v, D, generator=generator) for v in (views, 1))
    return LossInputs(LABEL, features=features.requires_grad_(), key_features=key if keys else None, sample_idx=SAMPLES)


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


# ---------------------------------------------------------------------- the function


def test_equals_the_formula():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    candidate = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 1, 0, 1]]).bool()
    positive = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]).bool()
    log_weight = torch.randn(3, 5, dtype=torch.float64)
    for weights in (None, log_weight):
        got = supervised_contrast(logits, positive, candidate, weights)
        for i, row in enumerate(logits.tolist()):
            w = [1.0] * 5 if weights is None else weights[i].exp().tolist()
            total = sum(w[k] * math.exp(row[k]) for k in range(5) if candidate[i, k])
            terms = [-math.log(math.exp(row[p]) / total) for p in range(5) if positive[i, p]]
            assert got[i].item() == pytest.approx(sum(terms) / len(terms) if terms else 0.0)
    assert torch.autograd.gradcheck(lambda x: supervised_contrast(x, positive, candidate), logits)


def test_anchor_without_candidates_and_large_logits_are_finite():
    logits = torch.tensor([[1e4, -1e4], [1e4, 1e4]], requires_grad=True)
    mask = torch.tensor([[False, False], [True, True]])
    loss = supervised_contrast(logits, mask, mask)
    loss.sum().backward()
    assert loss[0] == 0 and loss.isfinite().all() and logits.grad.isfinite().all()


# ---------------------------------------------------------------------- references


def test_references_in_a_batch():
    features, subclass = unit(8, D), torch.tensor([5, 6, 7, 8])
    contrast = contrast_with_views(features, LABEL, subclass)
    label, sub = LABEL.repeat(2), subclass.repeat(2)
    for i in range(8):
        for j in range(8):
            assert contrast.is_candidate[i, j] == (i != j)
            assert contrast.is_own[i, j] == (abs(i - j) == 4)
            assert contrast.same_class[i, j] == (i != j and label[i] == label[j])
            assert contrast.same_subclass[i, j] == (i != j and sub[i] == sub[j])
    torch.testing.assert_close(contrast.cosine, features @ features.T)


@pytest.mark.parametrize('filled', [0, 3, 4])
def test_references_in_a_queue(filled):
    queue = FeatureQueue(4, D, with_sub_labels=True)
    queue.update(unit(filled, D), torch.tensor([1, 0, 0, 0])[:filled], torch.tensor([2, -1, 1, 1])[:filled])
    query, key, subclass = unit(2, D), unit(2, D), torch.tensor([1, 2])
    contrast = contrast_with_queue(query, key, queue, torch.tensor([0, 1]), subclass)
    empty = 4 - filled
    assert contrast.is_candidate.tolist() == [[True] * (1 + filled) + [False] * empty] * 2
    assert contrast.is_own.sum() == 2 and contrast.is_own[:, 0].all()
    assert contrast.same_class[0, 1:].tolist() == [False, True, True, True][:filled] + [False] * empty
    assert contrast.same_subclass[0, 1:].tolist() == [False, False, True, True][:filled] + [False] * empty
    assert contrast.same_class[1, 1:].tolist() == [True, False, False, False][:filled] + [False] * empty
    torch.testing.assert_close(contrast.cosine[:, 0], (query * key).sum(1))


# ---------------------------------------------------------------------- every loss


@pytest.mark.parametrize('queue_size', [None, 3])
@pytest.mark.parametrize(('cls', 'options'), CLASSES)
def test_learns_and_resumes_exactly(cls, options, queue_size):
    loss = build(cls, queue_size=queue_size, **options)
    batch = inputs(1 if queue_size else 2, keys=bool(queue_size))
    for _ in range(2):  # an empty queue, then one that is full
        terms = loss(batch)
        value = sum(terms.values())
        assert value.isfinite() and all('loss' in name for name in terms)
    value.backward()
    assert value > 0 and batch.features.grad.any() and loss.projector[0].weight.grad.any()
    resumed = cls(in_channels=D, feat_dim=6, queue_size=queue_size, **options)
    resumed.load_state_dict(loss.state_dict())
    if hasattr(resumed, 'set_progress'):
        resumed.set_progress(1, 4)
    torch.manual_seed(0)
    expected = copy.deepcopy(loss)(batch)
    torch.manual_seed(0)
    torch.testing.assert_close(resumed(batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize(('cls', 'options'), CLASSES)
def test_half_precision_and_large_features(cls, options):
    loss = build(cls, **options)
    batch = inputs(scale=1e4)
    torch.manual_seed(0)
    expected = loss(batch)
    torch.manual_seed(0)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = loss(replace(batch, features=batch.features.bfloat16()))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in got.values())
    torch.testing.assert_close(got, expected, rtol=0.05, atol=0.2)


@pytest.mark.parametrize('queue_size', [None, 3])
@pytest.mark.parametrize(('cls', 'options'), CLASSES)
def test_empty_batch(cls, options, queue_size):
    loss = build(cls, queue_size=queue_size, **options)
    empty = torch.zeros(0, D, requires_grad=True)
    batch = LossInputs(LABEL[:0], features=empty, key_features=empty.detach(), sample_idx=SAMPLES[:0])
    assert all(value == 0 for value in loss(batch).values())


@pytest.mark.parametrize(
    ('options', 'change', 'message'),
    [
        ({}, dict(views=1), 'at least 2 views of each image, but got 1'),
        (dict(queue_size=3), dict(views=2, keys=True), 'expected 1 view of each image, but got 2'),
        (dict(queue_size=3), dict(views=1), 'needs `key_features`'),
    ],
)
def test_other_inputs_are_refused(options, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build(SupConLoss, **options)(inputs(**change))


def test_soft_labels_are_refused():
    with pytest.raises(ValueError, match='soft labels'):
        build(SupConLoss)(replace(inputs(), label=torch.rand(4, 4)))


# ---------------------------------------------------------------------- SupCon and KCL


def test_base_temperature_is_a_factor():
    plain, scaled = build(SupConLoss), build(SupConLoss, base_temperature=0.07)
    scaled.load_state_dict(plain.state_dict())
    got, expected = scaled(inputs())['loss_contrastive'], plain(inputs())['loss_contrastive'] * 0.1 / 0.07
    torch.testing.assert_close(got, expected)


def test_kcl_with_all_positives_is_supcon():
    kcl, supcon = build(KCLLoss, num_positives=None), build(SupConLoss, temperature=0.07)
    kcl.load_state_dict(supcon.state_dict())
    torch.testing.assert_close(kcl(inputs()), supcon(inputs()))


def test_sampled_positives():
    mask = torch.tensor([[0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    draws = torch.tensor([[0.0, 0.5, 0.99], [0.34, 0.1, 0.3]], dtype=torch.float64)
    assert sample_positives(mask, draws).int().tolist() == [[0, 1, 0, 1, 0], [0] * 5, [1, 0, 0, 0, 0]]
    many = sample_positives(mask, torch.rand(50, 3, dtype=torch.float64))
    assert torch.equal(many, mask)  # with replacement: all of them in the end
    highest = sample_positives(mask, torch.ones(1, 3, dtype=torch.float64))  # a float32 draw can round to 1
    assert highest.int().tolist() == [[0, 0, 0, 0, 1], [0] * 5, [1, 0, 0, 0, 0]]


# ---------------------------------------------------------------------- SBCL


def naive_sbcl(cosine: list, label: list, sub: list, temperatures: dict) -> float:
    """The formula, anchor by anchor, of two views."""
    num, total = len(label), 0.0
    for i in range(num):
        others = [k for k in range(num) if k != i]
        own = (i + num // 2) % num

        def term(positives, candidates, t, i=i):
            log_sum = math.log(sum(math.exp(cosine[i][k] / t) for k in candidates))
            return sum(log_sum - cosine[i][p] / t for p in positives) / len(positives)

        same = [k for k in others if sub[k] == sub[i]]
        rest = [k for k in others if sub[k] != sub[i] or k == own]
        in_class = [k for k in rest if label[k] == label[i]]
        total += 0.1 / 0.07 * term(same, others, 0.1) + 0.25 * term(in_class, rest, temperatures[label[i]])
    return total / num


def test_sbcl_formula():
    loss, batch = build(SubclassBalancedContrastiveLoss, **SBCL).double(), inputs()
    batch = replace(batch, features=batch.features.double())
    z = F.normalize(loss.projector(batch.features), dim=1)
    sub = loss.subclass.values[SAMPLES].repeat(2).tolist()
    expected = naive_sbcl((z @ z.T).tolist(), LABEL.repeat(2).tolist(), sub, dict(enumerate(loss.temperatures.values)))
    assert sum(loss(batch).values()).item() == pytest.approx(float(expected))


def test_warm_up_is_supcon():
    loss, supcon = build(SubclassBalancedContrastiveLoss, epoch=0, **SBCL), build(SupConLoss)
    supcon.projector.load_state_dict(loss.projector.state_dict())
    terms = loss(inputs())
    torch.testing.assert_close(terms['loss_class'], supcon(inputs())['loss_contrastive'])
    assert terms['loss_subclass'] == 0 and not len(loss.subclass.values)


def test_clusters_again_every_interval_after_the_warm_up():
    loss = SubclassBalancedContrastiveLoss(in_channels=D, warmup_epochs=3, interval=4)
    assert [epoch for epoch in range(13) if loss.needs_train_features(epoch)] == [*range(3, 13)]  # none so far
    loss.subclass.resize(5)
    assert [epoch for epoch in range(13) if loss.needs_train_features(epoch)] == [3, 4, 8, 12]


def test_clusters_are_those_of_seed_and_epoch():
    outputs = train_features(COUNTS)

    def subclasses(seed: int, epoch: int) -> list[int]:
        torch.manual_seed(0)
        loss = SubclassBalancedContrastiveLoss(in_channels=D, **SBCL)
        loss.set_progress(epoch, 9)
        torch.rand(epoch)  # the state of the global generator is of no account
        loss.on_train_features(replace(outputs, seed=seed))
        return loss.subclass.values.tolist()

    assert subclasses(0, 2) == subclasses(0, 2)
    assert subclasses(0, 2) != subclasses(0, 4) and subclasses(0, 2) != subclasses(1, 2)


def test_order_and_holes_of_the_samples():
    outputs = train_features(COUNTS)
    order = torch.randperm(len(outputs.label))
    shuffled = replace(outputs, features=outputs.features[order], label=outputs.label[order], sample_idx=2 * order)
    loss = build(SubclassBalancedContrastiveLoss, epoch=0, **SBCL)
    loss.on_train_features(shuffled)
    subclass = loss.subclass.values
    assert len(subclass) == 2 * len(order) - 1 and (subclass[1::2] == -1).all()
    class_of_subclass = torch.bucketize(subclass[::2].clone(), torch.tensor([8, 11]), right=True)  # 8, 3, 0 and 1
    assert torch.equal(class_of_subclass, outputs.label.clamp(max=2))
    assert loss.temperatures.values[2] == loss.temperatures.values[3] == 0.1


def test_sub_classes_are_missing():
    loss = SubclassBalancedContrastiveLoss(in_channels=D, **SBCL)
    loss.set_progress(1, 4)
    with pytest.raises(RuntimeError, match='needs sub-classes: .*TrainFeaturesHook'):
        loss(inputs())


@pytest.mark.parametrize('keep_stale', [True, False])
def test_sub_classes_in_the_queue_after_a_new_clustering(keep_stale):
    loss = build(SubclassBalancedContrastiveLoss, queue_size=4, keep_stale=keep_stale, **SBCL)
    loss(inputs(1, keys=True))
    before = loss.subclass.read(SAMPLES)
    assert torch.equal(loss.queue.sub_labels, before) and before.min() >= 0
    outputs = train_features(COUNTS, seed=5)
    loss.on_train_features(replace(outputs, seed=1))
    assert torch.equal(loss.queue.sub_labels, before if keep_stale else torch.full_like(before, -1))


@pytest.mark.parametrize('options', [dict(keep_stale=False), dict(class_term='supcon', class_temperature=0.1)])
def test_arguments_without_effect_are_refused(options):
    with pytest.raises(ValueError, match='SubclassBalancedContrastiveLoss: '):
        build(SubclassBalancedContrastiveLoss, **SBCL, **options)


def test_key_encoder_clusters():
    loss = build(SubclassBalancedContrastiveLoss, queue_size=3, **SBCL)
    outputs = train_features(COUNTS)
    outputs = replace(outputs, key_features=torch.randn_like(outputs.features))
    got = loss.project_all(outputs)
    torch.testing.assert_close(got, F.normalize(loss.key_projector(outputs.key_features), dim=1))
