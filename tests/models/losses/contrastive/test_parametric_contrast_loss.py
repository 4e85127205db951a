import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.losses import GPaCoLoss, LossInputs, PaCoLoss
from ltmm.models.losses.contrastive.parametric_contrast_loss import parametric_contrastive_loss
from ltmm.registry import MODELS

C, D, COUNTS = 4, 6, [60, 20, 5, 1]
LABEL = torch.tensor([0, 2, 0])


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive(logits, label, anchors, references, reference_label, own, *, temperature, alpha, beta, gamma, smoothing):
    """The formula, anchor by anchor in Python's floats."""
    losses = []
    for i, anchor in enumerate(anchors.tolist()):
        others = [k for k in range(len(references)) if k != own[i] and reference_label[k] >= 0]
        dots = {k: sum(a * b for a, b in zip(anchor, references[k].tolist())) / temperature for k in others}
        total = sum(math.exp(v) for v in logits[i].tolist()) + gamma * sum(map(math.exp, dots.values()))
        value, norm = 0.0, 0.0
        for c, v in enumerate(logits[i].tolist()):
            weight = beta * (1 - smoothing if c == label[i] else smoothing / (C - 1))
            value, norm = value - weight * (v - math.log(total)), norm + weight
        for k in others:
            if reference_label[k] == label[i]:
                value, norm = value - alpha * (dots[k] - math.log(total)), norm + alpha
        losses.append(value / norm)
    return torch.tensor(losses, dtype=torch.float64)


def batch() -> tuple[Tensor, ...]:
    """Logits and labels of three anchors; references of which they are rows 1, 2 and 4, and one of which is empty."""
    references, own = F.normalize(rows(7, D, seed=1), dim=1), torch.tensor([1, 2, 4])
    references[6] = 0
    return rows(3, C), LABEL, references[own], references, torch.tensor([2, 0, 2, 1, 0, 0, -1]), own


@pytest.mark.parametrize(
    'options',
    [
        dict(temperature=0.2, alpha=0.05, beta=1.0, gamma=1.0, smoothing=0.0),
        dict(temperature=0.5, alpha=0.3, beta=0.8, gamma=0.7, smoothing=0.1),
        dict(temperature=0.5, alpha=0.0, beta=1.0, gamma=0.0, smoothing=0.0),  # cross entropy
    ],
)
def test_formula(options):
    case = batch()
    loss = parametric_contrastive_loss(*case, **options)
    torch.testing.assert_close(loss, naive(*case, **options))
    if not options['gamma']:
        torch.testing.assert_close(loss, F.cross_entropy(case[0], LABEL, reduction='none'))


def test_gradient():
    logits, label, anchors, references, *others = batch()
    tensors = [tensor.detach().requires_grad_() for tensor in (logits, anchors, references)]
    assert torch.autograd.gradcheck(
        lambda v, a, r: parametric_contrastive_loss(v, label, a, r, *others, temperature=0.5, alpha=0.3, smoothing=0.1),
        tensors,
    )


@pytest.mark.parametrize('scale', [1.0, 1e4])
def test_low_temperature_and_large_logits_stay_finite(scale):
    logits, *others = batch()
    logits, others = (
        (scale * logits.float()).requires_grad_(),
        [x.float() if x.is_floating_point() else x for x in others],
    )
    loss = parametric_contrastive_loss(logits, *others, temperature=0.002, alpha=0.01)
    loss.sum().backward()
    assert loss.isfinite().all() and logits.grad.isfinite().all()


def test_frequent_classes_learn_less_from_their_own_logit():
    logits, _, anchors, references, _, own = batch()
    logits = torch.zeros_like(logits).requires_grad_()
    reference_label = torch.tensor([0, 0, 2, 0, 1, 0, -1])  # label 0 has three other rows, labels 2 and 1 none
    label = reference_label[own]
    parametric_contrastive_loss(
        logits, label, anchors, references, reference_label, own, temperature=1e3, alpha=0.5
    ).sum().backward()
    pull = -logits.grad.gather(1, label.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(pull[0], torch.tensor(1 / 2.5 - 1 / 9, dtype=torch.float64), rtol=1e-2, atol=0)
    torch.testing.assert_close(pull[1:], torch.full((2,), 1 - 1 / 9, dtype=torch.float64), rtol=1e-2, atol=0)


# ---------------------------------------------------------------------- modules


def paco(steps: int = 0, **options) -> PaCoLoss:
    loss = PaCoLoss(**dict(in_channels=D, feat_dim=5, queue_size=8, class_counts=COUNTS) | options)
    for step in range(steps):
        loss(inputs(seed=step))
    return loss


def gpaco(steps: int = 0, **options) -> GPaCoLoss:
    loss = GPaCoLoss(**dict(in_channels=D, feat_dim=5, queue_size=8, class_counts=COUNTS) | options)
    for step in range(steps):
        loss(inputs(views=2, seed=step))
    return loss


def inputs(views: int = 1, seed: int = 9, **options) -> LossInputs:
    n = views * len(LABEL)
    given = dict(cls_score=rows(n, C, seed=seed).float(), features=rows(n, D, seed=seed + 1).float())
    return LossInputs(
        LABEL, **given | dict(key_features=rows(3, D, seed=seed + 2).float() if views == 1 else None) | options
    )


BUILDS = [(paco, 1), (gpaco, 2)]
each = pytest.mark.parametrize('build, views', BUILDS, ids=['paco', 'gpaco'])
LOG_PRIOR = (torch.tensor(COUNTS) / sum(COUNTS) + 1e-9).log()


def test_paco_contrasts_queries_with_keys_and_queue():
    loss = paco(steps=1, temperature=0.5, alpha=0.3)
    loss.key_projector.momentum = 0.5
    with torch.no_grad():
        loss.projector[3].weight.add_(1)  # the next update moves the keys' copy
    before, given = copy.deepcopy(loss), inputs()
    value = loss(given)['loss_contrastive']
    keys = before.key_projector.module
    for key, query in zip(keys.parameters(), before.projector.parameters()):
        key.data = 0.5 * key + 0.5 * query
    query = F.normalize(before.projector(given.features), dim=1)
    key = F.normalize(keys(given.key_features), dim=1)
    references = torch.cat([query, key, before.queue.features[:3]])
    labels = torch.cat([LABEL, LABEL, before.queue.labels[:3]])
    expected = naive(
        given.cls_score + LOG_PRIOR,
        LABEL,
        query,
        references,
        labels,
        range(3),
        **dict(temperature=0.5, alpha=0.3, beta=1.0, gamma=1.0, smoothing=0.0),
    )
    torch.testing.assert_close(value.double(), expected.mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.queue.features[3:6], key.detach())
    assert loss.queue.labels.tolist() == [0, 2, 0, 0, 2, 0, -1, -1]
    torch.testing.assert_close(loss.state_dict()['projector.1.running_mean'], before.projector[1].running_mean)


@pytest.mark.parametrize('use_prior', [True, False])
def test_gpaco_contrasts_both_views(use_prior):
    options = {} if use_prior else dict(use_prior=False, class_counts=None)
    loss = gpaco(steps=1, temperature=0.5, alpha=0.3, smoothing=0.1, **options)
    before, given = copy.deepcopy(loss), inputs(views=2)
    value = loss(given)['loss_contrastive']
    anchors = F.normalize(before.projector(given.features), dim=1)
    expected = naive(
        given.cls_score + use_prior * LOG_PRIOR,
        LABEL.repeat(2),
        anchors,
        torch.cat([anchors, before.queue.features[:3]]),
        torch.cat([LABEL, LABEL, before.queue.labels[:3]]),
        range(6),
        **dict(temperature=0.5, alpha=0.3, beta=1.0, gamma=1.0, smoothing=0.1),
    )
    torch.testing.assert_close(value.double(), expected.mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.queue.features[3:6], anchors[3:].detach())
    assert not loss.queue.features.requires_grad and loss.balances_classes is use_prior


def test_gpaco_without_prior_needs_no_counts():
    loss = GPaCoLoss(in_channels=D, queue_size=8, use_prior=False)
    assert loss(inputs(views=2))['loss_contrastive'].isfinite()
    with pytest.raises(ValueError, match='use_prior=False takes no class_counts'):
        gpaco(use_prior=False)
    with pytest.raises(RuntimeError, match='class_counts'):
        GPaCoLoss(in_channels=D, queue_size=8)(inputs(views=2))


@each
def test_what_learns(build, views):
    loss, given = build(steps=1), inputs(views)
    tensors = [given.cls_score, given.features] + [given.key_features] * (views == 1)
    for tensor in tensors:
        tensor.requires_grad_()
    loss(given)['loss_contrastive'].backward()
    assert given.cls_score.grad.any(1).all() and given.features.grad.any(1).all()
    assert views == 2 or given.key_features.grad is None
    for name, parameter in loss.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad == ('key_' not in name)


@each
def test_first_batch_and_class_without_images(build, views):
    loss, given = build(class_counts=[60, 20, 0, 1]), inputs(views)
    given.features.requires_grad_()
    value = loss(given)['loss_contrastive']  # with an empty queue, and label 2 without training images
    value.backward()
    assert value.isfinite() and given.features.grad.isfinite().all() and given.features.grad.any()


@each
def test_resume_is_exact(build, views):
    loss, resumed, given = build(steps=3), build(), inputs(views)
    resumed.load_state_dict(loss.state_dict())
    torch.testing.assert_close(resumed(given), loss(given), rtol=0, atol=0)
    torch.testing.assert_close(resumed.state_dict(), loss.state_dict(), rtol=0, atol=0)


@each
def test_evaluation_mode_changes_nothing(build, views):
    loss = build(steps=1).eval()
    before = copy.deepcopy(loss.state_dict())
    loss(inputs(views))
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


@each
def test_half_precision(build, views):
    loss, given = build(steps=1), inputs(views)
    expected = copy.deepcopy(loss)(given)
    half = {name: getattr(given, name) for name in ('cls_score', 'features', 'key_features')}
    half = {name: None if value is None else value.bfloat16() for name, value in half.items()}
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = loss(LossInputs(LABEL, **half))
    assert terms['loss_contrastive'].dtype == loss.queue.features.dtype == torch.float32
    torch.testing.assert_close(terms, expected, rtol=0.05, atol=0.05)


@each
def test_other_inputs_are_refused(build, views):
    loss, given = build(), inputs(views)
    with pytest.raises(ValueError, match=rf'{views} views? of each image, but got 3: .*MultiView'):
        loss(replace(given, cls_score=rows(9, C), features=rows(9, D)))
    with pytest.raises(ValueError, match=r'expected features \(., 6\), but got \(., 7\): check its in_channels'):
        loss(replace(given, features=rows(3 * views, 7)))
    with pytest.raises(ValueError, match='soft labels'):
        loss(replace(given, label=torch.ones(3, C)))
    with pytest.raises(ValueError, match='logits of 4 classes'):
        loss(replace(given, cls_score=rows(3 * views, 7)))


def test_batch_norm_of_one_image_is_refused():
    one = LossInputs(LABEL[:1], torch.ones(1, C), torch.ones(1, D), key_features=torch.ones(1, D))
    with pytest.raises(ValueError, match='at least 2 images per process, but got 1: set .*drop_last=True'):
        paco()(one)
    assert paco().eval()(one)['loss_contrastive'].isfinite()


def test_paco_without_momentum_copy_is_refused():
    with pytest.raises(ValueError, match='PaCoLoss needs `key_features`'):
        paco()(inputs(key_features=None))


@pytest.mark.parametrize('kind, num_layers', [('PaCoLoss', 4), ('GPaCoLoss', 3)])
def test_projector_does_not_start_as_the_classifier_does(kind, num_layers):
    loss = dict(type=f'ltmm.{kind}', in_channels=64)
    head = MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=64, loss=loss))
    head.init_weights()
    assert head.fc.weight.std() < 0.015
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear) and layer is not head.fc]
    assert len(layers) == num_layers and all(layer.weight.std() > 0.05 for layer in layers)
