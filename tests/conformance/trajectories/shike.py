"""SHIKE: experts on shallow features, then new classifiers on the frozen experts."""

from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from ltmm.models.losses.expert import shike_loss
from ltmm.models.losses.expert.base import kl_divergence
from ltmm.models.losses.expert.shike_loss import hard_category_logits

from ..adaptors import experts
from ..adaptors.shike import warm_up_of
from ..frame import Case, adaptor
from .frame import WORDS, Given, Training, train
from .weights import EVALUATION, TRANSPOSED, compare_state, draw_images, draw_state

OLD, NEW = 'classifiers', 'rt_classifiers'  # of the first and of the second stage


@adaptor('trajectory_shike', ignores=WORDS | {'epochs': 'words'}, slow=True)
@torch.no_grad()
def shike(case: Case) -> dict[str, Any]:
    params, entries = case.params, case.params['state_dict']
    drawn, switch = draw_state(entries, params['seed_w']), params['cornerstone']
    old, new, others = ({name: x for name, x in drawn.items() if _part(name) == part} for part in (OLD, NEW, None))
    with torch.enable_grad(), mock.patch.object(shike_loss, 'hard_category_logits', recorder := Recorder()):
        first = _train(case, 1, range(switch), 'shike_r32_stage1', weights=others | old, unused=new)
        after_first = first.state(first.end)
        stage = dict(loaded=first.end.state_dict(), unused={name: after_first[name] for name in old})
        second = _train(case, 2, range(switch, params['steps']), 'shike_r32', weights=others | new, **stage)
    for prefix, state in (('state_before_stage_2', after_first), ('state_final', second.state(second.end))):
        compare_state(case, prefix, (state[name] for _, name, *_ in entries))
    hard, mutual = recorder.means(len(params['cls_num_list']), params['steps'])
    images = draw_images(params['seed_x'], EVALUATION, params['batch'])
    features = second.end.extract_feat(images)
    return dict(
        loss=first.losses['loss'] + second.losses['loss'],
        lr=first.lr + second.lr,
        ce_expert=np.concatenate([_terms(training, params['num_experts']) for training in (first, second)]),
        hard_expert=hard,
        mutual_expert=mutual,
        eval_expert_logits_stage1_heads=first.end.head.expert_logits(features),
        eval_expert_logits_stage2_heads=second.end.head.expert_logits(features),
        eval_output=second.predict(),
    )


class Recorder:
    """Stands for ``hard_category_logits`` and keeps the mean divergences from the reference and between the experts."""

    def __init__(self) -> None:
        self.hard: list[Tensor] = []  # (E,)
        self.mutual: list[Tensor] = []  # (E, E)

    def __call__(self, expert_logits: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        result = merged, wrong = hard_category_logits(expert_logits, *args)
        expert_logits, merged, wrong = expert_logits.detach(), merged.detach(), wrong.detach()
        pairs = kl_divergence(expert_logits.unsqueeze(0), expert_logits.unsqueeze(1))  # (E, E, N)
        self.hard.append(kl_divergence(merged, wrong).mean(-1))
        self.mutual.append(pairs.mean(-1))
        return result

    def means(self, num_classes: int, steps: int) -> list[Tensor]:
        """Means over images and classes, (steps, E) and (steps, E, E), 0 in the second stage."""
        both = [torch.stack(means) / num_classes for means in (self.hard, self.mutual)]
        return [torch.cat([means, means.new_zeros(steps - len(means), *means.shape[1:])]) for means in both]


def _train(case: Case, stage: int, steps: Sequence[int], config: str, **kwargs: Any) -> Training:
    params, schedule, labels = case.params, case.params['schedule'], case.arrays['labels']
    case.check('labels', labels.shape, (params['steps'], params['batch']))
    optimizer, warm_up = dict(params['optimizer']), schedule['warmup_epochs']
    base, peak = optimizer['lr'], optimizer['lr'] * schedule[f'peak_over_base_stage{stage}']
    given = Given(
        class_counts=params['cls_num_list'],
        labels=labels[steps[0] : steps[-1] + 1].tolist(),
        epoch_of_step=range(len(steps)),
        max_epochs=schedule[f'T_max_stage{stage}'],
        seed_x=params['seed_x'],
        optimizer=dict(optimizer, lr=peak),
        transposed={name for _, name, _, rule in params['state_dict'] if rule in TRANSPOSED},
        first_step=steps[0],
        **kwargs,
    )
    overrides = {f'param_scheduler.0.{name}': value for name, value in warm_up_of(base, peak, warm_up).items()}
    overrides |= {'param_scheduler.1.begin': warm_up} | _network(params)
    overrides |= {'model.head.loss.hard_weight': params['hard_weight']} if stage == 1 else {}
    return train(given, f'cifar100_lt/{config}.py', _our_name, overrides)


def _network(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        'model.backbone.depth': None,
        'model.backbone.stage_blocks': params['blocks'],
        'model.backbone.num_experts': params['num_experts'],
        'model.head.num_experts': params['num_experts'],
        'model.head.classifier.scale': params['scale'],
    }


def _part(name: str) -> str | None:
    part = name.partition('.')[0]
    return part if part in (OLD, NEW) else None


def _our_name(name: str) -> str:
    return experts.our_name(name.removeprefix('rt_'))


def _terms(training: Training, num_experts: int) -> np.ndarray:
    """Cross entropies of the experts, (steps, E)."""
    return np.column_stack([training.losses[f'loss_expert{e}'] for e in range(num_experts)])
