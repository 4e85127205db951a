"""Classification: losses, classifier layers, backbones."""

import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('balanced_softmax')
def balanced_softmax(case: Case) -> dict[str, Tensor]:
    loss = MODELS.build(
        dict(
            type='ltmm.BalancedSoftmaxLoss',
            class_counts=case.params['cls_num_list'],
            reduction=case.params['reduction'],
        )
    )
    return case.loss_and_grad(loss)


@adaptor('normed_linear_cosine')
def normed_linear_cosine(case: Case) -> dict[str, Tensor]:
    layer = MODELS.build(dict(type='ltmm.NormedLinear', **case.params)).to(case.dtype)
    layer.weight.data = case['weight'].T  # the authors' weight is (in, out)
    x = case['x'].requires_grad_()
    out = layer(x)
    (out * case['probe']).sum().backward()
    return dict(out=out, grad_x=x.grad, grad_weight=layer.weight.grad.T)


@adaptor('resnet32_cifar_forward')
@torch.no_grad()
def resnet_cifar_forward(case: Case) -> dict[str, Tensor]:
    keys, x = case.params['state_dict_keys'], case['x']
    num_blocks = sum(key.startswith('layer1.') and key.endswith('.conv1.weight') for key in keys)
    backbone = dict(type='ltmm.ResNetCIFAR', depth=6 * num_blocks + 2, in_channels=x.size(1))
    head = dict(
        type='ltmm.LongTailClsHead',
        num_classes=case.params['num_classes'],
        in_channels=MODELS.build(backbone)(x.float())[0].size(1),
    )
    model = MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head)).to(case.dtype).eval()
    ours = model.state_dict()
    for position, key in enumerate(keys):
        if not key.endswith('num_batches_tracked'):
            layer, _, name = key.rpartition('.')
            parameter = ours[f'head.fc.{name}' if layer == 'linear' else f'backbone.{key}']
            parameter.copy_(_filling(parameter, name, 'bn' in layer, position))
    return dict(logits=model(x))


def _filling(parameter: Tensor, name: str, is_norm: bool, position: int) -> Tensor:
    """The numbers the authors' network was filled with; ``position`` is that of the parameter in its state dict."""
    phase = torch.arange(parameter.numel(), dtype=torch.float64).view_as(parameter) * 0.37 + position
    if name == 'running_mean':
        return 0.01 * phase.cos()
    if name == 'running_var':
        return 1 + 0.1 * phase.sin() ** 2
    return 1 + 0.1 * phase.sin() if is_norm and name == 'weight' else 0.05 * phase.sin()


@adaptor('causal_tde')
def causal_tde(case: Case) -> dict[str, Tensor]:
    layer = MODELS.build(
        dict(
            type='ltmm.CausalCosine',
            mode='tde',
            in_features=case['weight'].size(1),
            out_features=len(case['weight']),
            scale=case.params['tau'],
            num_heads=case.params['num_head'],
            alpha=case.params['alpha'],
            gamma=case.params['gamma'],
            momentum=case.params['mu'],
        )
    )
    layer.weight.data = case['weight']
    layer.embedding.total = layer.embedding.total.to(case.dtype)
    for batch in case['feature_batches']:
        layer.embedding.update(batch)
    embed, x = layer.embedding.total.clone(), case['x'].requires_grad_()
    tde_logits = layer.eval()(x)
    train_logits = layer.train()(x)  # moves the mean, which does not matter to the logits
    (train_logits * case['probe']).sum().backward()
    return dict(
        embed=embed, tde_logits=tde_logits, train_logits=train_logits, grad_x=x.grad, grad_weight=layer.weight.grad
    )


@adaptor('gml', ignores=dict.fromkeys(('seed', 'scale', 'class_balanced_targets'), 'what the inputs were drawn with'))
def gml(case: Case) -> dict[str, Tensor]:
    options = dict(p=case.params['p'], min_prob=case.params['eps'], class_counts=case.arrays['cls_num'])
    return case.loss_and_grad(MODELS.build(dict(type='ltmm.GeometricMeanLoss', **options)))
