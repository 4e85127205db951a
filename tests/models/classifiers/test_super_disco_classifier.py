import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from toy import toy_config
from toy_losses import prepare
from toy_training import stop_and_resume

from ltmm.models.classifiers.super_disco_classifier import class_prototypes, prototype_loss
from ltmm.registry import MODELS

GRAPH = dict(type='ltmm.SuperClassGraph', in_channels=8, num_super_classes=(3, 2))


def build(loss=None, **settings):
    torch.manual_seed(0)
    cfg = dict(
        type='ltmm.SuperDiscoClassifier',
        backbone=dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8)),
        neck=GRAPH,
        head=dict(
            type='ltmm.LongTailClsHead',
            num_classes=3,
            in_channels=8,
            loss=loss or dict(type='ltmm.BalancedSoftmaxLoss'),
        ),
    )
    model = MODELS.build(cfg | settings).double()
    prepare(model.head, [40, 16, 8])
    for level in model.graph.levels:
        torch.nn.init.normal_(level.out.weight, std=0.1)
    return model


def batch(seed, num=6):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num, 3, 8, 8, dtype=torch.float64, generator=generator)
    return images, [DataSample().set_gt_label(i % 3) for i in range(num)]


def of_graph(name):
    return name.startswith('neck.')


def test_gradients_equal_those_of_two_models():
    model = build(inner_lr=0.3, prototype_weight=0.5)
    plain, ahead = copy.deepcopy(model), copy.deepcopy(model)
    model._meta_batch = batch(2)
    losses = model.loss(*batch(1))
    assert set(losses) == {'loss', 'loss_meta', 'loss_prototype'}
    sum(losses.values()).backward()

    plain.forward(*batch(1), mode='batch_loss')['loss'].backward()
    moved = {n: p - 0.3 * p.grad for n, p in plain.named_parameters() if not of_graph(n)}
    ahead.load_state_dict(moved, strict=False)
    images, _ = batch(2)
    (z,) = ahead.extract_feat(images)
    label = torch.tensor([i % 3 for i in range(6)])
    prototypes = torch.stack([z[label == c].mean(0) for c in range(3)])
    distance = torch.cdist(z, ahead.graph.refine_prototypes(prototypes)) ** 2
    expected = F.cross_entropy(ahead.head.fc(z), label) + 0.5 * F.cross_entropy(-distance / (2 * 8**0.5), label)
    expected.backward()
    torch.testing.assert_close(losses['loss_meta'] + losses['loss_prototype'], expected.detach())
    for name, p in model.named_parameters():
        other = dict((ahead if of_graph(name) else plain).named_parameters())[name]
        torch.testing.assert_close(p.grad, other.grad, msg=name)


def test_meta_batch_leaves_the_statistics_alone():
    model, other = build(), build()
    model._meta_batch = batch(2)
    model.loss(*batch(1))
    other.forward(*batch(1), mode='batch_loss')
    torch.testing.assert_close(dict(model.named_buffers()), dict(other.named_buffers()))


def test_prototypes():
    features, label = torch.arange(8.0).reshape(4, 2), torch.tensor([4, 1, 4, 1])
    prototypes, target = class_prototypes(features, label)
    assert prototypes.tolist() == [[4, 5], [2, 3]] and target.tolist() == [1, 0, 1, 0]
    assert prototype_loss(100 * prototypes, 100 * prototypes, torch.tensor([0, 1])) < 1e-6


def config(work_dir, **overrides):
    cfg = toy_config(work_dir, **overrides)
    cfg.model.type = 'ltmm.SuperDiscoClassifier'
    cfg.model.neck = GRAPH
    cfg.custom_hooks.append(dict(type='ltmm.MetaBatchHook'))
    return cfg


def test_training_resumes(tmp_path):
    Runner.from_cfg(config(tmp_path / 'straight')).train()
    stop_and_resume(partial(config, tmp_path / 'stopped'), at_iter=17)
    one, other = (torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True) for name in ('straight', 'stopped'))
    assert one['state_dict']['neck.levels.0.out.weight'].abs().sum() > 0
    torch.testing.assert_close(one['state_dict'], other['state_dict'], rtol=0, atol=0)


def test_bad_input(tmp_path):
    with pytest.raises(TypeError, match='one ltmm.SuperClassGraph as neck'):
        build(neck=None)
    with pytest.raises(ValueError, match='`inner_lr`'):
        build(inner_lr=0)
    with pytest.raises(ValueError, match='MetaBatchHook'):
        build().loss(*batch(1))
    cfg = toy_config(tmp_path, epochs=1)
    cfg.custom_hooks.append(dict(type='ltmm.MetaBatchHook'))
    with pytest.raises(TypeError, match='takes meta batches'):
        Runner.from_cfg(cfg).train()
