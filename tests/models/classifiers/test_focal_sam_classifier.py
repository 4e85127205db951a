import copy
from functools import partial

import pytest
import torch
import torch.distributed as dist
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn.parallel import DistributedDataParallel
from toy import toy_config
from toy_losses import prepare
from toy_ranks import on_ranks
from toy_training import stop_and_resume

from ltmm.models.classifiers.focal_sam_classifier import focal_weights
from ltmm.registry import MODELS

COUNTS = [40, 16, 8]
COSINE = dict(type='ltmm.NormedLinear')
REWEIGHTED = dict(type='ltmm.ReweightedLoss', kind='inverse', loss=dict(type='mmpretrain.CrossEntropyLoss'))
LOSSES = [  # with classifier
    (dict(type='ltmm.LogitAdjustmentLoss', tau=0.75), dict(type='ltmm.Linear')),
    (dict(type='ltmm.VSLoss', gamma=0.2, tau=1.2), dict(type='ltmm.Linear')),
    (dict(type='ltmm.LDAMLoss'), COSINE),
    (dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.Linear')),
    (dict(type='ltmm.SoftmaxFocalLoss', gamma=2.0), dict(type='ltmm.Linear')),
    (dict(REWEIGHTED, normalize='batch_size'), dict(type='ltmm.Linear')),
]
FOCAL = dict(rho=0.3, gamma=3.2, sharpness=0.8)


def build(loss=LOSSES[0][0], classifier=LOSSES[0][1], pixels=False, **settings):
    torch.manual_seed(0)
    backbone = dict(type='ltmm.FlatPixels') if pixels else dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))
    head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=48 if pixels else 8)
    cfg = dict(type='ltmm.FocalSAMClassifier', backbone=backbone, head=dict(head, loss=loss, classifier=classifier))
    model = MODELS.build(cfg | FOCAL | settings)
    return prepare(model, COUNTS).double()


def batch(num=6, size=8):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(num, 3, size, size, dtype=torch.float64, generator=generator)
    return images, [DataSample().set_gt_label(i % 3 if i % 2 else 0) for i in range(num)]


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters()}


def naive(model, images, samples, gamma, sharpness, rho):
    """Gradients of the step in two forward and three backward passes, with the weights moved in place."""
    label = torch.cat([sample.gt_label for sample in samples])
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    weight = (sharpness * (1 - counts / counts.sum()) ** gamma)[label]
    parameters = [p for p in model.parameters() if p.requires_grad]

    def each():
        return model.head.loss_module(model.head(model.extract_feat(images)), label, reduction_override='none')

    losses = each()
    g1 = torch.autograd.grad(((1 - weight) * losses).mean(), parameters, retain_graph=True)
    g2 = torch.autograd.grad((weight * losses).mean(), parameters)
    norm = torch.cat([g.flatten() for g in g2]).norm()
    start = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, g in zip(parameters, g2):
            p += rho * g / (norm + 1e-12)
    g3 = torch.autograd.grad((weight * each()).mean(), parameters)
    with torch.no_grad():
        for p, value in zip(parameters, start):
            p.copy_(value)
    return [a + b for a, b in zip(g1, g3)]


@pytest.mark.parametrize('settings', [FOCAL, dict(rho=0.1, gamma=0.0, sharpness=1.0)], ids=['focal', 'plain'])
@pytest.mark.parametrize('loss, classifier', LOSSES, ids=lambda cfg: cfg['type'].split('.')[1])
def test_step_equals_two_forward_and_three_backward_passes(loss, classifier, settings):
    model = build(loss, classifier, **settings)
    other = copy.deepcopy(model)
    before = copy.deepcopy(model.state_dict())
    losses = model.loss(*batch())
    assert set(losses) == {'loss_cls', 'loss_sharpness'} and losses['loss_sharpness'] > 0
    sum(losses.values()).backward()
    expected = naive(other, *batch(), **settings)
    torch.testing.assert_close([*gradients(model).values()], expected)
    plain = torch.autograd.grad(other.head.loss(other.extract_feat(batch()[0]), batch()[1])['loss'], other.parameters())
    assert max((a - b).abs().max() for a, b in zip(plain, expected)) > 1e-3
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name])  # nothing stays moved


@pytest.mark.parametrize('norm_twice', [True, False])
def test_running_statistics(norm_twice):
    model, (images, samples) = build(norm_twice=norm_twice), batch()
    other = copy.deepcopy(model)
    model.loss(images, samples)
    expected = copy.deepcopy(other)
    expected.extract_feat(images) if not norm_twice else naive(expected, images, samples, 3.2, 0.8, 0.3)
    assert model.backbone.bn1.num_batches_tracked == 1 + norm_twice
    torch.testing.assert_close(dict(model.backbone.named_buffers()), dict(expected.backbone.named_buffers()))


def test_frozen_and_unused_parameters_stay():
    model = build()
    model.backbone.layer1.requires_grad_(False)
    model.unused = torch.nn.Linear(2, 2)
    other = copy.deepcopy(model)
    other.unused.requires_grad_(False)
    sum(model.loss(*batch()).values()).backward()
    got = {name: grad for name, grad in gradients(model).items() if grad is not None}
    assert not any('layer1' in name or 'unused' in name for name in got)
    torch.testing.assert_close([*got.values()], naive(other, *batch(), 3.2, 0.8, 0.3))


def test_overflow_of_the_ascent_leaves_the_plain_gradient():
    model, other = build(), build()
    model.ascent_scale.fill_(1e308)
    model.ascent_scale *= 1e10  # infinite
    losses = model.loss(*batch())
    sum(losses.values()).backward()
    other.head.loss(other.extract_feat(batch()[0]), batch()[1])['loss'].backward()
    torch.testing.assert_close(gradients(model), gradients(other))
    assert losses['loss_sharpness'].abs() < 1e-12
    assert all(buffer.isfinite().all() for buffer in model.backbone.buffers())
    model.ascent_scale.fill_(2.0**1023)
    model.loss(batch()[0] * 1e5, batch()[1])
    assert model.ascent_scale == 2.0**1022


def test_an_overflow_of_the_gradient_skips_the_step():
    model = build().float()
    images, samples = batch()
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**127)
    scaler.scale(1e6 * sum(model.loss(images.float(), samples).values())).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**126
    torch.testing.assert_close(dict(model.named_parameters()), before, rtol=0, atol=0)


def test_mixed_labels_mix_the_weights():
    model = build()
    label = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0]])
    samples = [DataSample().set_gt_label(1).set_gt_score(score) for score in label]
    inputs = model.head.loss_inputs((torch.randn(2, 8, dtype=torch.float64),), samples)
    each = model.head.loss_module(inputs.cls_score, inputs.label, reduction_override='none')
    weight = label.double() @ torch.from_numpy(focal_weights(torch.tensor(COUNTS).numpy(), 3.2, 0.8))
    torch.testing.assert_close(model.weighted_loss(inputs), (weight * each).mean(), rtol=1e-6, atol=0)


def test_weight_sum_of_reweighted_loss_stays_out_of_the_weighted_loss():
    one, other = (build(dict(REWEIGHTED, normalize=normalize)) for normalize in ('weight_sum', 'batch_size'))
    one, other = one.loss(*batch()), other.loss(*batch())
    torch.testing.assert_close(one['loss_sharpness'], other['loss_sharpness'])
    assert not torch.isclose(one['loss_cls'], other['loss_cls'])


def test_class_without_images():
    assert focal_weights(torch.tensor([9, 1, 0]).numpy(), 2.0, 0.8).round(6).tolist() == [0.008, 0.648, 0.8]
    assert focal_weights(torch.tensor([9]).numpy(), 0.0, 1.0).tolist() == [1.0]
    model = prepare(build(), [40, 0, 8])
    assert all(value.isfinite() for value in model.loss(*batch()).values())


def on_rank(rank):
    model = DistributedDataParallel(build(pixels=True))
    images, samples = batch(size=4)
    sum(model(images[rank::2], samples[rank::2], mode='loss').values()).backward()
    return gradients(model.module)


def test_two_ranks_equal_one_process(tmp_path):
    model = build(pixels=True)
    sum(model.loss(*batch(size=4)).values()).backward()
    for grads in on_ranks(on_rank, tmp_path):
        torch.testing.assert_close(grads, gradients(model))
    assert not dist.is_initialized()


@pytest.mark.slow
def test_bfloat16_training_resumes(tmp_path):
    model = {f'model.{name}': value for name, value in FOCAL.items()}
    options = model | {
        'model.type': 'ltmm.FocalSAMClassifier',
        'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper',
        'optim_wrapper.clip_grad': dict(max_norm=1.0),
    }
    Runner.from_cfg(toy_config(tmp_path / 'straight', **options)).train()
    stop_and_resume(partial(toy_config, tmp_path / 'stopped', **options), at_iter=17)
    one, other = (torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True) for name in ('straight', 'stopped'))
    assert one['state_dict']['ascent_scale'] == 2.0**16
    torch.testing.assert_close(one['state_dict'], other['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(one['optimizer']['state'], other['optimizer']['state'], rtol=0, atol=0)


def test_refusals(tmp_path):
    with pytest.raises(TypeError, match=r'needs an ltmm.LongTailClsHead.* but got LongTailClsHead with CCSAMLoss'):
        build(dict(type='ltmm.CCSAMLoss'))
    with pytest.raises(ValueError, match='`reduction_override`'):
        build(dict(type='ltmm.GeometricMeanLoss')).loss(*batch())
    for name, value in dict(rho=-1, gamma=-0.1, sharpness=1.1).items():
        with pytest.raises(ValueError, match=f'`{name}`'):
            build(**{name: value})
    options = {'model.type': 'ltmm.FocalSAMClassifier', 'optim_wrapper.accumulative_counts': 2}
    with pytest.raises(ValueError, match=r'FocalSAMClassifier\) needs the whole batch at once'):
        Runner.from_cfg(toy_config(tmp_path, **options)).train()
