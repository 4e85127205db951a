"""Second stages of Decoupling on a given network: cRT and LWS."""

from typing import Any

from torch import nn

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import given, train


@adaptor('trajectory_decoupling')
def decoupling(case: Case) -> dict[str, Any]:
    params, config = case.params, f'cifar100_lt/{case.params["method"]}_r32.py'
    steps = range(params['num_epochs'] * params['steps_per_epoch'])
    case.check('epoch_of_step', [step // params['steps_per_epoch'] for step in steps], params['epoch_of_step'])
    data = given(case, class_counts=[1] * params['num_classes'], max_epochs=params['num_epochs'])
    overrides = {'model.backbone.depth': params['depth'], 'model.head.init_cfg': None}  # the classifier is given
    return train(data, config, _our_name, overrides).compare(case, nn.Module.__call__)


def _our_name(name: str) -> str:
    if name == 'classifier.scales':
        return 'head.fc.scale'
    return our_name(name.replace('feat_model.', '').replace('classifier.fc', 'linear'))
