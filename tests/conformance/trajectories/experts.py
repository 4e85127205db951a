"""Methods of several experts on their CIFAR network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import given, train

NAMES_ONLY = {
    'loss.type': "the authors' name of the loss",
    'arch.returns_feat': 'what their network returns besides the logits',
}
LOSS_ARGUMENTS = dict(
    additional_diversity_factor='diversity_factor',
    reweight_factor='reweight_factor',
    reweight_epoch='reweight_epoch',  # weights where the epoch from 1 is greater: from this epoch on, counted from 0
    tau='tau',
)


@adaptor('trajectory_ride', ignores=NAMES_ONLY)
def ride(case: Case) -> dict[str, Any]:
    return _train(case, 'cifar100_lt/ride_r32.py')


@adaptor('trajectory_sade', ignores=NAMES_ONLY)
def sade(case: Case) -> dict[str, Any]:
    return _train(case, 'cifar100_lt/sade_r32.py')


def _train(case: Case, config: str) -> dict[str, Any]:
    arch, loss = case.params['arch'], case.params['loss']['args']
    assert arch['reduce_dimension'] and arch['use_norm']  # as the configs have it
    overrides = {f'model.head.loss.{LOSS_ARGUMENTS[name]}': value for name, value in loss.items()}
    overrides |= {
        'model.backbone.depth': case.params['depth'],
        'model.backbone.num_experts': arch['num_experts'],
        'model.head.num_experts': arch['num_experts'],
    }
    training = train(given(case), config, our_name, overrides | _schedule(case.params['lr_scheduler']))
    outputs = training.compare(case, _expert_logits)
    experts = outputs['eval_logits']
    return outputs | dict(eval_expert_logits=experts, eval_logits=training.predict())


def _expert_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(N, E, C)."""
    return model.head.expert_logits(model.extract_feat(images)).transpose(0, 1)


def _schedule(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """Linear warm-up that starts at its first step, and two drops."""
    warmup = scheduler['warmup_epoch']
    return {
        'param_scheduler.0.start_factor': 1 / warmup,
        'param_scheduler.0.end': warmup,
        'param_scheduler.1.milestones': [scheduler['step1'], scheduler['step2']],
        'param_scheduler.1.gamma': scheduler['gamma'],
    }
