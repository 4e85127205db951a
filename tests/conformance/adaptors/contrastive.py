"""Contrastive methods."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.optim import SGD

from ltmm.models.losses import LossInputs
from ltmm.models.losses.contrastive import momentum_contrast_loss
from ltmm.models.losses.contrastive.balanced_contrastive_loss import balanced_contrastive_loss
from ltmm.models.losses.contrastive.subclasses import balanced_kmeans, class_density, class_temperatures
from ltmm.models.losses.contrastive.supervised_contrast import contrast_with_queue, contrast_with_views
from ltmm.models.state import FeatureQueue
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('bcl')
def bcl(case: Case) -> dict[str, Tensor]:
    raw, centers = case['raw_features'].requires_grad_(), case['raw_centers'].requires_grad_()
    features = F.normalize(raw, dim=2).transpose(0, 1).flatten(0, 1)  # (V N, D), view after view
    label = case['target'].repeat(raw.size(1))
    temperature = case.params['temperature']
    loss = balanced_contrastive_loss(features, label, F.normalize(centers, dim=1), temperature).mean()
    loss.backward()
    counts, tau = case.arrays['class_counts'], case.argument('tau', 1.0)
    adjusted = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', tau=tau, class_counts=counts))
    outputs = case.loss_and_grad(adjusted, grad='la_grad')
    return dict(
        loss=loss, grad_raw=raw.grad, grad_centers=centers.grad, la_loss=outputs['loss'], la_grad=outputs['la_grad']
    )


@MODELS.register_module()
class TanhBody(nn.Sequential):
    """A linear layer and tanh, as a backbone."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.body = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.body(x).tanh(),)


@adaptor('moco', ignores=dict(order='in words what MomentumClassifier does'))
def moco(case: Case) -> dict[str, Tensor]:
    params, width = case.params, len(case['q0.body.bias'])
    model = MODELS.build(
        dict(
            type='ltmm.MomentumClassifier',
            momentum=params['m'],
            backbone=dict(type='ltmm.TanhBody', in_features=case['s0.xq'].size(1), out_features=width),
            head=dict(
                type='ltmm.LongTailClsHead',
                num_classes=1,
                in_channels=width,
                classifier=dict(type='torch.nn.Identity'),
                loss=dict(
                    type='ltmm.MomentumContrastLoss',
                    in_channels=width,
                    feat_dim=params['dim'],
                    queue_size=params['K'],
                    temperature=params['T'],
                    mlp=params['mlp'],
                ),
            ),
        )
    ).double()
    objective, body = model.head.loss_module, model.backbone.body
    projector, queue = objective.projector.experts[0], objective.queue
    body.load_state_dict({name: case[f'q0.body.{name}'] for name in body.state_dict()})
    projector.load_state_dict({name: case[f'q0.fc.{name}'] for name in projector.state_dict()})
    queue.features.copy_(case['queue_init'].T)
    queue.num_filled.fill_(params['K'])  # all slots count
    optimizer = SGD(model.parameters(), case.argument('lr', 0.5))
    outputs = {}
    for step in range(params['steps']):
        images = case[f's{step}.xq'], case[f's{step}.xk']
        samples = [DataSample().set_gt_label(0) for _ in images[0]]
        with record_logits() as logits:
            (loss,) = model.loss(torch.cat(images), samples).values()
        optimizer.zero_grad()
        loss.backward()
        now = dict(
            logits=logits[0][0],
            loss=loss,
            queue=queue.features.T,
            ptr=queue.cursor,
            k_body=model.key_network.module[0].body.weight.clone(),
            grad_body=body.weight.grad,
        )
        outputs |= {f's{step}.{name}': value for name, value in now.items() if f's{step}.{name}' in case}
        optimizer.step()
    return outputs


@contextmanager
def record_logits() -> Iterator[list[Tensor]]:
    """Record the logits (E, N, 1 + K) of momentum contrast."""
    recorded, compute = [], momentum_contrast_loss.contrast_logits

    def record(*args: Any) -> Tensor:
        recorded.append(compute(*args))
        return recorded[-1]

    with mock.patch.object(momentum_contrast_loss, 'contrast_logits', record):
        yield recorded


@adaptor('paco')
def paco(case: Case) -> dict[str, Tensor]:
    params, counts, num_all = case.params, case.arrays['class_counts'], len(case.arrays['labels'])
    assert params['supt'] == 1  # ltmm has no temperature of the logits
    outputs = {}
    for prefix, options in (('', {}), ('gpaco_', dict(smoothing=case.argument('smooth', 0.0)))):
        raw, logits = case['raw_features'].requires_grad_(), case[f'{prefix}sup_logits'].requires_grad_()
        features, label = F.normalize(raw, dim=1), case['labels']
        num_anchors, num_keys = len(logits), num_all - params['K']
        loss = MODELS.build(
            dict(
                type='ltmm.GPaCoLoss' if prefix else 'ltmm.PaCoLoss',
                in_channels=features.size(1),
                feat_dim=features.size(1),
                queue_size=params['K'],
                temperature=params['temperature'],
                alpha=params['alpha'],
                beta=params['beta'],
                gamma=params['gamma'],
                self_weight=1e-12,
                class_counts=counts,
                **options,
            )
        ).double()
        loss.queue.features, loss.queue.labels = features[num_keys:], label[num_keys:]
        keys = () if prefix else ((features[num_anchors:num_keys], label[num_anchors:num_keys]),)
        inputs = LossInputs(label[: len(label[:num_keys]) // 2], cls_score=logits, features=features[:num_anchors])
        value = loss.mean_loss(inputs, features[:num_anchors], *keys)
        value.backward()
        outputs |= {
            f'{prefix}loss': value,
            f'{prefix}grad_raw': raw.grad,
            f'{prefix}grad_sup': logits.grad,
        }
    return outputs


@adaptor('sbcl', ignores=dict(class_counts='the densities are given', largest_class_index='0'))
def sbcl(case: Case) -> dict[str, Tensor]:
    if 'features' in case:
        return _sbcl_clusters(case)
    if 'raw_q' in case:
        return _sbcl_queue(case)
    contrast = {'supcon': dict(type='ltmm.SupConLoss', temperature=case.argument('T', 0.1))}
    options = dict(
        type='ltmm.SubclassBalancedContrastiveLoss',
        temperature=0.1,
        base_temperature=case.argument('base_temperature', 0.07),
        class_term_weight=case.argument('grama', 0.25),
        warmup_epochs=0,
    )
    contrast |= dict(rank=options, ccl=dict(options, class_term='supcon'))
    outputs = {}
    for name, cfg in contrast.items():
        loss, raw = _contrastive_loss(cfg, case), case['raw_features'].requires_grad_()
        features = F.normalize(raw, dim=2).transpose(0, 1).flatten(0, 1)  # (V N, D), view after view
        terms = loss.losses(contrast_with_views(features, case['target'], case['cluster']))
        outputs |= _value_and_grad(name, terms, raw)
    return outputs


def _sbcl_queue(case: Case) -> dict[str, Tensor]:
    size = len(case['queue_label'])
    queue = FeatureQueue(size, case['queue'].size(0), with_sub_labels=True).double()
    queue.features, queue.labels, queue.sub_labels = case['queue'].T, case['queue_label'], case['queue_cluster']
    queue.num_filled.fill_(size)  # all slots count
    options = dict(
        type='ltmm.SubclassBalancedContrastiveLoss',
        temperature=case.argument('T', 0.07),
        class_temperature=case.argument('ranking T', 0.12),
        class_term_weight=case.argument('grama', 0.2),
        warmup_epochs=0,
    )
    kcl = dict(type='ltmm.KCLLoss', num_positives=None, temperature=options['temperature'])
    outputs = {}
    ccl = dict(options, class_term='supcon', class_temperature=None)
    for name, cfg in dict(rank=options, kcl_all_pos=kcl, ccl=ccl).items():
        loss, raw = _contrastive_loss(dict(cfg, queue_size=size), case), case['raw_q'].requires_grad_()
        query = F.normalize(raw, dim=1)
        terms = loss.losses(contrast_with_queue(query, case['k'], queue, case['target'], case['cluster']))
        outputs |= _value_and_grad(name, terms, raw)
    return {name.replace('all_pos_grad', 'grad'): value for name, value in outputs.items()}


def _contrastive_loss(cfg: dict, case: Case) -> nn.Module:
    loss = MODELS.build(dict(cfg, in_channels=1)).double()
    if cfg['type'] == 'ltmm.SubclassBalancedContrastiveLoss':
        loss.set_progress(0, 1)
        if 'density' in case:
            loss.temperatures.values = case['density']
    return loss


def _value_and_grad(name: str, terms: dict[str, Tensor], raw: Tensor) -> dict[str, Tensor]:
    value = sum(term.mean() for term in terms.values())
    value.backward()
    return {name: value, f'{name}_grad': raw.grad}


def _sbcl_clusters(case: Case) -> dict[str, Tensor]:
    counts, num, features = case['counts'], case['n_clusters'], case['features']
    label = torch.arange(len(counts)).repeat_interleave(counts)
    largest = features[: counts[0]]
    cluster = balanced_kmeans(largest, max(2, int(num[0])), seed=int(case.argument('seed', 0)))
    means = torch.stack([largest[cluster == k].mean(0) for k in range(cluster.max() + 1)])
    return dict(
        density_raw=class_density(features, label, len(counts)),
        density=class_temperatures(features, label, num, case.argument('temperature', 0.1)),
        bk_euclidean_assign=cluster,
        bk_euclidean_centers=means,
    )
