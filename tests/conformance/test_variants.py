"""Adaptors on variants that the files document but `goldens/` does not hold: against plain re-implementations."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor, nn
from torch.optim import SGD, lr_scheduler
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from toy import ROOT

from .adaptors.experts import _filling
from .frame import ADAPTORS, Case, RecordingDict, verdict
from .trajectories.causal_tde import _schedule
from .trajectories.weights import cifar_depth


def problems(method: str, params: dict, arrays: dict[str, Any], called: str = '') -> list[str]:
    arrays = {name: np.asarray(torch.as_tensor(array).detach()) for name, array in arrays.items()}
    return verdict(Case(method, 'a', RecordingDict(params), RecordingDict(arrays), called), ADAPTORS[method]).problems


class Experts(nn.Module):
    """torchvision's network with two experts of the last stages, one block a stage, by the authors' names."""

    def __init__(self, first: int, scale: float, block: type, **kwargs: Any) -> None:
        super().__init__()
        nets = [ResNet(block, [1] * 4, **kwargs) for _ in range(2)]
        self.first, self.scale = first, scale
        for name in ('conv1', 'bn1', 'relu', 'maxpool', *(f'layer{k}' for k in range(1, first))):
            self.add_module(name, getattr(nets[0], name))
        for k in range(first, 5):
            self.add_module(f'layer{k}s', nn.ModuleList(getattr(net, f'layer{k}') for net in nets))
        self.linears = nn.ModuleList(nn.Module() for _ in nets)
        for linear in self.linears:
            linear.weight = nn.Parameter(torch.zeros(nets[0].fc.in_features, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for k in range(1, self.first):
            x = self.get_submodule(f'layer{k}')(x)
        logits = []
        for expert, linear in enumerate(self.linears):
            out = x
            for k in range(self.first, 5):
                out = self.get_submodule(f'layer{k}s.{expert}')(out)
            logits.append(F.normalize(out.mean((2, 3)), dim=1) @ F.normalize(linear.weight, dim=0) * self.scale)
        return torch.stack(logits, dim=1)


@pytest.mark.parametrize(
    ('scale', 'first', 'block', 'kwargs'),
    [
        (30, 3, Bottleneck, dict(groups=32, width_per_group=4)),  # RIDE on ResNeXt-50
        (30, 4, Bottleneck, dict(groups=8, width_per_group=8)),
        (16, 4, Bottleneck, {}),  # the third stage shared
        (30, 3, BasicBlock, {}),
    ],
)
@torch.no_grad()
def test_expert_networks(scale: float, first: int, block: type, kwargs: dict) -> None:
    model = Experts(first, scale, block, **kwargs).double().eval()
    entries = [[i, name, [*value.shape]] for i, (name, value) in enumerate(model.state_dict().items()) if value.ndim]
    for i, name, shape in entries:
        model.state_dict()[name].copy_(_filling(name, shape, i, 1.5))
    x = (torch.arange(2 * 3 * 64**2, dtype=torch.float64) * 0.11 + 0.2).cos().view(2, 3, 64, 64)
    logits = model(x)
    params = dict(state=entries, batch=2, size=64, seed=0.2, amp=1.5, formula='in words')
    params['params'] = sum(parameter.numel() for parameter in model.parameters())
    outputs = dict(eval_output=logits.mean(1), eval_logits=logits)
    assert not problems('expert_backbone', params, outputs, called=f'... s={scale}')


def rebalancing_weights(kind: str | None, mode: str, counts: Tensor, num_images: int, target: Tensor) -> Tensor:
    if kind in ('inv', 'sqrt_inv'):
        return (num_images / counts) ** (0.5 if kind == 'sqrt_inv' else 1) * torch.ones_like(target)
    if kind is None:
        return torch.ones_like(target)
    rows = []
    for row in target:
        of_positives = counts[row == 1]
        n = dict(by_class=counts, average_n=of_positives.mean(), min_n=of_positives.min(), average_w=of_positives)[mode]
        weight = 0.1 / (1 - 0.9**n)
        rows.append(torch.ones(len(counts)) * (weight.mean() if mode == 'average_w' else weight))
    return torch.stack(rows)


@pytest.mark.parametrize(
    ('kind', 'mode', 'norm'),
    [
        ('inv', '', None),
        ('sqrt_inv', '', 'by_instance'),
        ('inv', '', 'by_batch'),
        (None, '', None),
        ('CB', 'by_class', 'by_instance'),
        ('CB', 'average_n', None),
        ('CB', 'average_w', 'by_batch'),
        ('CB', 'min_n', None),
    ],
)
def test_weights_of_db_loss(kind: str | None, mode: str, norm: str | None) -> None:
    generator = torch.Generator().manual_seed(0)
    counts, num_images = torch.tensor([40.0, 12, 5, 2, 1]).double(), 60
    target = torch.eye(5)[[0, 1, 2, 4]].double() + torch.eye(5)[[3, 3, 4, 2]].double()
    logits = torch.randn(4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    weight = rebalancing_weights(kind, mode, counts, num_images, target).double()
    weight = weight / dict(by_instance=weight.amax(1, keepdim=True), by_batch=weight.max()).get(norm, 1)
    shifted = logits - (num_images / counts - 1).log() * 0.05 / 2
    scaled = torch.where(target == 1, shifted, 2 * shifted)
    after = torch.where(target == 1, weight, weight / 2)
    bce = F.binary_cross_entropy_with_logits(scaled, target, reduction='none')
    losses = 2 * (1 - (-bce).exp()) ** 2 * after * bce
    losses.mean().backward()
    params = dict(
        use_sigmoid=True,
        reweight_func=kind,
        weight_norm=norm,
        focal=dict(focal=True, balance_param=2.0, gamma=2),
        logit_reg=dict(neg_scale=2.0, init_bias=0.05),
        **(dict(CB_loss=dict(CB_beta=0.9, CB_mode=mode)) if kind == 'CB' else {}),
    )
    arrays = dict(logits=logits, targets=target.long(), class_freq=counts.long(), num_train=num_images)
    arrays |= dict(weight_before_ntr=weight, logits_after_ntr=scaled, weight_after_ntr=after)
    arrays |= dict(loss_elementwise=losses, loss_mean=losses.mean(), grad_logits=logits.grad)
    assert not problems('db_loss', params, arrays)


def test_asl_of_single_labels_without_reduction() -> None:
    logits = torch.linspace(-2, 2, 12, dtype=torch.float64).view(3, 4).requires_grad_()
    label = torch.tensor([0, 3, 1])
    onehot = F.one_hot(label, 4)
    prob = logits.softmax(1)
    weight = (1 - torch.where(onehot == 1, prob, 1 - prob)) ** torch.where(onehot == 1, 1, 3)
    loss = -((0.9 * onehot + 0.1 / 4) * prob.log() * weight).sum(1)
    loss.sum().backward()
    params = dict(gamma_pos=1, gamma_neg=3, eps=0.1, reduction='none')
    assert not problems('asl', params, dict(logits=logits, targets=label, loss=loss, grad_logits=logits.grad))


@pytest.mark.parametrize('dataset', ['CIFAR100_LT', 'ImageNet_LT'])
@pytest.mark.parametrize(
    ('schedule', 'authors'),
    [
        (dict(coslr=True, endlr=0.02), lambda opt: lr_scheduler.CosineAnnealingLR(opt, 10, eta_min=0.02)),
        (dict(coslr=False, step_size=3, gamma=0.5), lambda opt: lr_scheduler.StepLR(opt, 3, gamma=0.5)),
        (
            dict(coslr=False, warmup=True, warm_epoch=4, lr_step=[6, 8], lr_factor=0.1),
            lambda opt: lr_scheduler.LambdaLR(
                opt, lambda e: min(1, 1 / 3 + 2 / 3 * e / 4) * 0.1 ** ((e >= 6) + (e >= 8))
            ),
        ),
    ],
)
def test_schedules_of_causal_tde(dataset: str, schedule: dict, authors: Any) -> None:
    case = Case('', '', RecordingDict(dict(dataset=dataset, num_epochs=10, scheduler=schedule)), RecordingDict({}))
    config, overrides = _schedule(case)
    assert ('lr_bound' in (ROOT / 'configs' / config).read_text()) == (dataset == 'ImageNet_LT')
    theirs, ours = (SGD([torch.zeros(1)], lr=0.2) for _ in range(2))
    scheduler = authors(theirs)
    options = dict(optimizer=ours, by_epoch=True)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(options, **cfg) | dict(end=cfg.get('end', 10)))
        for cfg in overrides['param_scheduler']
    ]
    for _ in range(10):
        theirs.step()
        scheduler.step()  # the authors step it before the epoch
        assert ours.param_groups[0]['lr'] == pytest.approx(theirs.param_groups[0]['lr'], rel=1e-9, abs=1e-15)
        ours.step()
        for own in schedulers:
            own.step()


def test_depth_follows_the_blocks_of_the_first_stage() -> None:
    names = ['model.conv1.weight', *(f'model.layer1.{k}.conv{i}.weight' for k in range(5) for i in (1, 2))]
    assert cifar_depth([(0, name, []) for name in [*names, 'model.layer2.7.conv1.weight']]) == 32
