"""BALMS: class rates, draws, and their gradient through one step of the classifier."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ltmm.datasets.labels import LabelTable
from ltmm.engine.hooks.meta_sampler_hook import meta_loss
from ltmm.models.state import ClassRates
from ltmm.models.state.class_rates import initial_rate_logits
from ltmm.registry import DATA_SAMPLERS, MODELS

from ..frame import Case, adaptor


class Samples(list):
    """A dataset of which only the labels are read."""

    def __init__(self, labels: np.ndarray, num_classes: int) -> None:
        super().__init__(labels)
        self.num_classes = num_classes

    def get_label_table(self) -> LabelTable:
        return LabelTable.from_labels(self, self.num_classes)


@adaptor('balms_meta_sampler', ignores={'torch_seed': 'the noise that follows from it is given'})
def balms_meta_sampler(case: Case) -> dict[str, Any]:
    params, label, noise = case.params, case.arrays['data_y'], case.arrays['gumbel']
    counts = params['counts']
    sampler = DATA_SAMPLERS.build(
        dict(type='ltmm.MetaSampler', dataset=Samples(label, len(counts)), length=len(noise), seed=0)
    )
    case.check('counts', sampler.table.class_distribution().instance_counts, np.array(counts))
    rates = ClassRates(len(counts), params['meta_lr'])
    rates.logits.copy_(torch.from_numpy(initial_rate_logits(sampler.table.class_distribution(), params['init_pow'])))
    outputs = dict(learner_w0=rates.logits[None].clone())
    sampler.rate = rates.logits.sigmoid().numpy()
    sampler.noise = lambda slot: np.exp(-noise[slot])
    drawn = np.array([*sampler])
    head = MODELS.build(
        dict(
            type='ltmm.LongTailClsHead',
            num_classes=len(counts),
            in_channels=case.arrays['cls_w'].shape[1],
            loss=dict(type='ltmm.BalancedSoftmaxLoss', class_counts=counts),
        )
    )
    head.to(case.dtype).load_state_dict({'fc.weight': case['cls_w'], 'fc.bias': case['cls_b']}, strict=False)
    optimizer = torch.optim.SGD(
        head.parameters(), params['inner_lr'], params['inner_momentum'], weight_decay=params['inner_wd']
    )
    logits = rates.logits.clone().requires_grad_()
    draws = tuple(map(torch.from_numpy, sampler.take_draws(len(noise))))
    batch = SimpleNamespace(features=case['data_x'][drawn], label=case['data_y'][drawn])
    meta = dict(meta_features=case['meta_x'], meta_label=case['meta_y'])
    (gradient,) = torch.autograd.grad(meta_loss(head, optimizer, logits, draws, **vars(batch), **meta), logits)
    rates.update(gradient)
    return dict(
        **outputs,
        sample_prob=sampler.rate[sampler.table.labels],
        idx=drawn,
        sample_onehot_value=np.eye(len(label), dtype=np.uint8)[drawn],
        learner_grad=gradient[None],
        learner_w1=rates.logits[None],
        cls_w_after=head.fc.weight,
    )
