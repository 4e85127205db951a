"""ACR: the losses of both branches and what it learns of the unlabeled prior, step by step."""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.models.layers import TwoBranchLinear
from ltmm.models.losses import LossInputs
from ltmm.models.losses.semi.acr_loss import adjustment
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('acr', ignores=dict(seed='of what is stored'))
def acr(case: Case) -> dict[str, Any]:
    params, counts = case.params, case.arrays['cls_num'].tolist()
    sizes, num_classes = [params['B'], 3 * params['mu'] * params['B']], len(counts)
    loss = MODELS.build(
        dict(
            type='ltmm.ACRLoss',
            threshold=params['threshold'],
            temperature=params['T'],
            tau=params['tau1'],
            tau_pseudo=params['tau12'],
            tau_balanced=params['tau2'],
            momentum=params['ema_u'],
            interval=params['steps_per_epoch'],
            warmup=params['est_epoch'],
            class_counts=counts,
        )
    )
    classifier = TwoBranchLinear(num_classes, num_classes, bias=False).double()
    classifier.uniform.weight.data = torch.eye(num_classes).double()  # the features are its logits
    standard, balanced = case['logits_std'].requires_grad_(), case['logits_bal'].requires_grad_()
    num_steps = params['epochs'] * params['steps_per_epoch']
    case.check('steps', len(standard), num_steps)
    outputs = defaultdict(list)
    for step in range(num_steps):
        loss.set_progress(0, 1, step, num_steps)
        (features, unlabeled), (score, unlabeled_score) = standard[step].split(sizes), balanced[step].split(sizes)
        inputs = LossInputs(
            case['target_x'][step],
            cls_score=score,
            features=features,
            classifier=classifier,
            unlabeled_score=unlabeled_score.unflatten(0, (3, -1)),
            unlabeled_features=unlabeled.unflatten(0, (3, -1)),
            also_labeled=case['u_real'][step] == -2,
        )
        for name, value in _step(loss, inputs).items():
            outputs[name].append(value)
    case.check('tau', torch.stack(outputs.pop('tau')).numpy().round(6), params['implied_tau_per_step'])
    results = {name: torch.stack(values) for name, values in outputs.items()}
    results |= dict(grad_std=standard.grad, grad_bal=balanced.grad)
    for name in ('Lx', 'Lu', 'Lx_b', 'Lu_b', 'loss', 'grad_std', 'grad_bal'):  # which the authors compute in float32
        expected = case.arrays[name].astype(np.float32)
        case.check(name, results.pop(name), expected, np.abs(expected).max())
    return results | dict(cls_num=loss.get_class_distribution().instance_counts)


def _step(loss: torch.nn.Module, inputs: LossInputs) -> dict[str, Tensor]:
    terms = loss(inputs)
    total = sum(value for name, value in terms.items() if 'loss' in name)
    total.backward()
    branches = loss.pseudo(inputs.unlabeled_features[0].detach(), inputs.unlabeled_score[0].detach())
    (label, _, mask), (balanced_label, _, balanced_mask) = branches
    return dict(
        Lx=terms['loss_labeled'].detach(),
        Lu=terms['loss_unlabeled'].detach(),
        Lx_b=terms['loss_labeled_balanced'].detach(),
        Lu_b=terms['loss_unlabeled_balanced'].detach(),
        loss=total.detach(),
        tau=terms['tau'],
        mask_std=mask,
        mask_bal=balanced_mask,
        pseudo_std=label,
        pseudo_bal=balanced_label,
        u_py_after=loss.estimate.prior.clone(),
        count_KL_after=loss.adaptive.distances.clone(),
        adjustment_l1=adjustment(loss.anchors[0], terms['tau']),
    )
