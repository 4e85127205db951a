from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from toy_ranks import on_ranks

from ltmm.models.classifiers.co_divide_classifier import mix_rows, mixmatch_terms, refine_labels, sharpen
from ltmm.models.state.co_divide_step import CoDivideStep
from ltmm.models.state.train_features import TrainFeatures
from ltmm.registry import MODELS

BACKBONE = dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))
HEAD = dict(
    type='ltmm.MultiExpertClsHead',
    num_classes=3,
    in_channels=8,
    num_experts=2,
    loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='mmpretrain.CrossEntropyLoss')),
)
BALPOE = dict(type='ltmm.BalPoELoss', taus=(0, 1))
SELECTOR = dict(type='ltmm.BiDimensionalSelector')


def build(**options):
    torch.manual_seed(0)
    cfg = dict(type='ltmm.CoDivideClassifier', backbone=BACKBONE, head=HEAD, selector=SELECTOR, warmup_epochs=2)
    return MODELS.build(cfg | options).double().train()


def at(model, epoch, step):
    model.set_progress(epoch, 20)
    model.step = step
    return model


def samples(labels):
    return [DataSample(metainfo=dict(sample_idx=i)).set_gt_label(label) for i, label in enumerate(labels)]


def test_sharpen_and_refine():
    prob = torch.tensor([[0.5, 0.3, 0.2]]).double()
    squares = torch.tensor([[0.25, 0.09, 0.04]]).double()
    torch.testing.assert_close(sharpen(prob, 0.5), squares / 0.38)
    torch.testing.assert_close(sharpen(prob, 1.0), prob)
    refined = refine_labels(torch.tensor([2]), torch.tensor([0.75]), prob)
    torch.testing.assert_close(refined, torch.tensor([[0.125, 0.075, 0.8]]).double())


def test_mix_rows():
    rows = torch.randn(4, 2, 3)
    mixed = mix_rows(rows, 0.7, torch.tensor([2, 0, 1, 3]))
    for i, j in enumerate([2, 0, 1, 3]):
        torch.testing.assert_close(mixed[i], 0.7 * rows[i] + 0.3 * rows[j])


@pytest.mark.parametrize('num_unlabeled', [0, 3])
def test_mixmatch_terms(num_unlabeled):
    logits = torch.randn(4 + num_unlabeled, 5).double().requires_grad_()
    target = torch.randn(4 + num_unlabeled, 5).double().softmax(1)
    terms = mixmatch_terms(logits, target, 4)
    prob = logits.softmax(1)
    labeled = sum(-(target[i] * prob[i].log()).sum() for i in range(4)) / 4
    torch.testing.assert_close(terms['loss_labeled'], labeled)
    errors = [(prob[i, c] - target[i, c]) ** 2 for i in range(4, len(target)) for c in range(5)]
    expected = sum(errors) / len(errors) if errors else torch.tensor(0.0).double()
    torch.testing.assert_close(terms['loss_unlabeled'], expected)
    penalty = sum(0.2 * torch.log(0.2 / prob[:, c].mean()) for c in range(5))
    torch.testing.assert_close(terms['loss_penalty'], penalty)
    sum(terms.values()).backward()
    assert logits.grad.isfinite().all()


def test_certain_predictions_have_a_finite_penalty():
    logits = torch.zeros(4, 3).double()
    logits[:, 0] = 1e4
    logits.requires_grad_()
    terms = mixmatch_terms(logits, F.one_hot(torch.zeros(4, dtype=torch.int64), 3).double(), 2)
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values()) and logits.grad.isfinite().all()


@pytest.mark.parametrize('k', [0, 1])
def test_warmup_trains_one_network_by_all_labels(k):
    model, images = at(build(), 0, CoDivideStep(k)), torch.randn(12, 3, 8, 8).double()
    labels = [0, 1, 2, 0, 1, 2]
    terms = model.loss(images, samples(labels))
    features = model.backbone.experts[k](images[:6])[0]  # the first views
    expected = F.cross_entropy(model.head.fc.experts[k](features), torch.tensor(labels))
    assert list(terms) == [f'loss_expert{k}']
    torch.testing.assert_close(terms[f'loss_expert{k}'], expected)
    terms[f'loss_expert{k}'].backward()
    learns = {name: p.grad is not None for name, p in model.named_parameters()}
    assert all(learnt == (f'experts.{k}.' in name) for name, learnt in learns.items())


@pytest.mark.parametrize('k', [0, 1])
def test_mixmatch_step(k):
    """Against the same step, written out; the network in training guesses in training mode, the other one does not."""
    model, views = at(build(), 6, CoDivideStep(k, num_labeled=3, progress=0.5)), torch.randn(2, 5, 3, 8, 8).double()
    labels, clean = [0, 1, 2, 0, 1], [0.9, 0.6, 0.7]
    model.clean.resize(5)
    model.clean.values[:3, 1 - k] = torch.tensor(clean).double()
    model.clean.values[:, k] = 0.123  # its own opinion does not count
    own, other = ([model.backbone.experts[j], model.head.fc.experts[j]] for j in (k, 1 - k))

    def prob(network, images):
        return network[1](network[0](images)[0]).softmax(1)

    draw = 0.8, torch.tensor([3, 1, 9, 0, 2, 4, 5, 6, 8, 7])
    with mock.patch.object(model, 'draw', lambda num: draw):
        terms = model.loss(views.flatten(0, 1), samples(labels))
    assert all(module.training for module in model.modules())
    with torch.no_grad():
        guess = [prob(own, views[0, 3:]), prob(own, views[1, 3:])]
        for part in other:
            part.eval()
        guess += [prob(other, views[0, 3:]), prob(other, views[1, 3:])]
        guess = sharpen(sum(guess) / 4, 0.5)
        refined = (prob(own, views[0, :3]) + prob(own, views[1, :3])) / 2
        refined = sharpen(refine_labels(torch.tensor(labels[:3]), torch.tensor(clean), refined), 0.5)
    images = torch.cat([views[0, :3], views[1, :3], views[0, 3:], views[1, 3:]])
    target = torch.cat([refined, refined, guess, guess])
    logits = own[1](own[0](mix_rows(images, *draw))[0])
    expected = mixmatch_terms(logits, mix_rows(target, *draw), 6)
    weight = 25 * (6.5 - 2) / 16
    assert terms['unlabeled_weight'].item() == pytest.approx(weight)
    torch.testing.assert_close(terms['loss_labeled'], expected['loss_labeled'])
    torch.testing.assert_close(terms['loss_unlabeled'], weight * expected['loss_unlabeled'])
    torch.testing.assert_close(terms['loss_penalty'], expected['loss_penalty'])
    sum(value for name, value in terms.items() if 'loss' in name).backward()
    assert all((p.grad is None) == (f'experts.{1 - k}.' in name) for name, p in model.named_parameters())


@pytest.mark.parametrize(('epoch', 'progress', 'share'), [(2, 0.0, 0), (2, 0.5, 0.5 / 16), (18, 0.0, 1), (19, 0.9, 1)])
def test_ramp(epoch, progress, share):
    model = at(build(), epoch, CoDivideStep(0, 2, progress))
    model.clean.resize(4)
    terms = model.loss(torch.randn(8, 3, 8, 8).double(), samples([0, 1, 2, 0]))
    assert terms['unlabeled_weight'].item() == pytest.approx(25 * share)


def test_batch_without_unlabeled_images():
    model = at(build(), 9, CoDivideStep(0, 4))
    model.clean.resize(4)
    terms = model.loss(torch.randn(8, 3, 8, 8).double(), samples([0, 1, 2, 0]))
    assert terms['loss_unlabeled'] == 0 and terms['loss_labeled'].isfinite()


def test_draw():
    model = build(alpha=4.0)
    shares = [model.draw(7)[0] for _ in range(300)]
    assert min(shares) >= 0.5 and 0.55 < np.mean(shares) < 0.7
    assert sorted(model.draw(7)[1].tolist()) == [*range(7)]


def outputs_of(model, num=60):
    generator = torch.Generator().manual_seed(1)
    return TrainFeatures(
        features=torch.randn(num, 16, generator=generator),
        logits=None,
        label=torch.arange(num) % 3,
        sample_idx=torch.arange(num).flip(0) * 2,  # as in a part of a dataset, not in its order
        seed=5,
    )


def test_selection_is_by_the_outputs_of_each_network():
    model = at(build(), 4, None)
    outputs = outputs_of(model)
    model.on_train_features(outputs)
    assert model.clean.values.shape == (119, 2) and model.selected.shape == (2, 60)
    for k in range(2):
        features = outputs.features[:, 8 * k : 8 * k + 8]
        logits = model.head.fc.experts[k](features.double())
        state = np.random.RandomState([5, 4, k])
        selected, probability = model.selector.select(features, logits.detach(), outputs.label, state)
        np.testing.assert_allclose(model.clean.values[outputs.sample_idx, k], probability, rtol=1e-6)
        assert model.selected[k].tolist() == selected.tolist()
    assert not model.clean.values[1::2].any()
    assert model.head.training
    assert at(model, 1, None).selected is None  # in the warm-up
    again = build()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.clean.values, model.clean.values)


def test_predicts_with_both_networks():
    model = build().eval()
    images = torch.randn(4, 3, 8, 8).double()
    logits = [model.head.fc.experts[k](model.backbone.experts[k](images)[0]) for k in range(2)]
    torch.testing.assert_close(model(images), sum(logits) / 2)
    assert model.extract_feat(images, 'pre_logits').shape == (4, 16)
    (prediction, *_) = model.predict(images)
    assert prediction.pred_label == sum(logits)[0].argmax()


def test_neck_per_network():
    neck = dict(type='mmpretrain.GlobalAveragePooling')
    model = build(backbone=dict(BACKBONE, pooled=False), neck=neck).eval()
    assert model(torch.randn(2, 3, 8, 8).double()).shape == (2, 3)


def test_autocast():
    model = at(build().float(), 9, CoDivideStep(0, 2))
    model.clean.resize(4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = model.loss(torch.randn(8, 3, 8, 8), samples([0, 1, 2, 0]))
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(warmup_epochs=-1), '`warmup_epochs`'),
        (dict(temperature=0), '`temperature`'),
        (dict(alpha=0), '`alpha`'),
        (dict(unlabeled_weight=-1), '`unlabeled_weight`'),
        (dict(rampup_epochs=0), '`rampup_epochs`'),
        (dict(head=dict(HEAD, num_experts=3)), 'MultiExpertClsHead with num_experts=3'),
        (dict(head=dict(HEAD, loss=BALPOE)), 'one network at a time.* BalPoELoss'),
        (dict(selector=dict(type='ltmm.Linear', in_features=1, out_features=1)), 'CleanSelector, but got Linear'),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_missing_parts():
    model, images = build(), torch.randn(4, 3, 8, 8).double()
    with pytest.raises(RuntimeError, match='CoDivideHook'):
        model.loss(images, samples([0, 1]))
    at(model, 3, CoDivideStep(0, 2)).clean.resize(4)
    with pytest.raises(ValueError, match='needs two views of each image, but got 1'):
        model.loss(images, samples([0, 1, 2, 0]))


def test_a_training_without_selection():
    assert 'never selects' in build(warmup_epochs=4).too_short(4)
    assert build(warmup_epochs=4).too_short(5) is None


def on_a_rank(rank):
    """The selection of a rank whose features differ by rounding, and the loss of its half of a batch."""
    model = at(build(), 4, None)
    outputs = outputs_of(model)
    outputs.features.add_(1e-6 * rank)
    model.on_train_features(outputs)
    generator = torch.Generator().manual_seed(2)
    logits, target = torch.randn(2, 8, 3, generator=generator, dtype=torch.float64)
    rows = slice(4 * rank, 4 * rank + 4)
    own = logits[rows].requires_grad_()
    terms = mixmatch_terms(own, target[rows].softmax(1), 2)
    sum(terms.values()).backward()
    return model.clean.values, {name: term.detach() for name, term in terms.items()}, own.grad


def test_two_ranks(tmp_path):
    """They hold the same selection, and learn as one process with both halves of the batch."""
    (first, terms, grad), (second, other_terms, other_grad) = on_ranks(on_a_rank, tmp_path)
    assert torch.equal(first, second) and first.any()
    generator = torch.Generator().manual_seed(2)
    logits, target = torch.randn(2, 8, 3, generator=generator, dtype=torch.float64)
    order = torch.tensor([0, 1, 4, 5, 2, 3, 6, 7])  # labeled rows of both ranks first
    logits.requires_grad_()
    whole = mixmatch_terms(logits[order], target.softmax(1)[order], 4)
    sum(whole.values()).backward()
    for name, term in whole.items():
        torch.testing.assert_close((terms[name] + other_terms[name]) / 2, term.detach())
    torch.testing.assert_close(torch.cat([grad, other_grad]) / 2, logits.grad)  # DDP averages
