"""PaCo and GPaCo."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.heads import LongTailClsHead
from ltmm.models.state import KeyEncoder
from ltmm.registry import MODELS

from ..frame import Case, adaptor
from .frame import WORDS, Training, given_views, train
from .weights import cifar_depth, compare_state

LOSS = 'head.loss_module.'
OUR_NAMES = {
    'queue_ptr': f'{LOSS}queue.cursor',
    'queue_l': f'{LOSS}queue.labels',
    'queue_filled': f'{LOSS}queue.num_filled',
    'queue': f'{LOSS}queue.features',
    'encoder_q.fc.': f'{LOSS}projector.',
    'encoder_k.fc.': f'{LOSS}key_projector.module.',
    'encoder_q.': 'backbone.',
    'encoder_k.': 'key_network.module.0.',
    'linear.': 'head.fc.',
    'linear_k.': 'head.key_fc.module.',
}
STEPS = {part: torch.tensor(0) for part in ('key_network.steps', f'{LOSS}key_projector.steps', 'head.key_fc.steps')}


@MODELS.register_module()
class HeadWithKeyClassifier(LongTailClsHead):
    """A head with the momentum copy of the classifier that PaCo's code keeps and never reads."""

    def __init__(self, *args: Any, momentum: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.key_fc = KeyEncoder(self.fc, momentum)

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        self.key_fc.update(self.fc)
        return super().loss(feats, data_samples, **kwargs)


@adaptor('trajectory_paco', ignores=WORDS, slow=True)
def paco(case: Case) -> dict[str, Any]:
    assert not case.params['smooth']  # PaCo has none
    momentum = case.params['m']
    overrides = {
        'model.momentum': momentum,
        'model.head.type': 'ltmm.HeadWithKeyClassifier',
        'model.head.momentum': momentum,
    }
    training = _train(case, 'cifar100_lt/paco_r32.py', overrides, STEPS)
    model, loss = training.start, training.start.head.loss_module
    query, key = training.images(0, num_views=2).chunk(2)
    query, key = model.extract_feat(query)[-1], model.key_network(key)[-1]
    features = torch.cat([loss.projector(query), loss.key_projector(key)])
    return _outputs(case, training, features, query)


@adaptor('trajectory_gpaco', ignores={**WORDS, 'm': 'GPaCo has no momentum copy'}, slow=True)
def gpaco(case: Case) -> dict[str, Any]:
    overrides = {'model.head.loss.smoothing': case.params['smooth']}
    training = _train(case, 'cifar100_lt/gpaco_r32.py', overrides, {})
    model = training.start
    views = torch.cat([model.extract_feat(view)[-1] for view in training.images(0, num_views=2).chunk(2)])
    return _outputs(case, training, model.head.loss_module.projector(views), views)


def _train(case: Case, config: str, overrides: Mapping[str, Any], state: Mapping[str, Tensor]) -> Training:
    """Train with loss, network and schedule of a case."""
    params, names = case.params, dict(dim='feat_dim', K='queue_size', T='temperature')
    names |= {name: name for name in ('alpha', 'beta', 'gamma')}
    assert params['kind'] in ('PaCo', 'GPaCo')
    data = given_views(case, num_views=2)
    data.weights |= state | dict(queue_filled=torch.tensor(params['K']))
    data.weights['queue_ptr'] = data.weights['queue_ptr'][0].long()
    warmup = params['warmup_epochs']
    data.optimizer['lr'] *= (warmup + 1) / warmup  # the rate after the warm-up, for one epoch
    overrides = {
        'model.backbone.depth': cifar_depth(params['state_dict']),
        'model.head.loss.self_weight': 1e-12,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=1 / (warmup + 1), end=warmup + 1),
            dict(type='MultiStepLR', milestones=[warmup + 1], gamma=warmup / (warmup + 1)),
            dict(type='MultiStepLR', milestones=[epoch + 1 for epoch in params['drops_after_epoch']], gamma=0.1),
        ],
        **{f'model.head.loss.{ours}': params[name] for name, ours in names.items()},
        **overrides,
    }
    assert params['blocks'] == [params['blocks'][0]] * 3
    return train(data, config, _our_name, overrides)


def _our_name(name: str) -> str:
    if name in STEPS:
        return name
    prefix = next(prefix for prefix in OUR_NAMES if name.startswith(prefix))
    return OUR_NAMES[prefix] + name.removeprefix(prefix)


def _outputs(case: Case, training: Training, projected: Tensor, classified: Tensor) -> dict[str, Any]:
    """Compare the final state and return the outputs.

    Args:
        case: The case.
        training: The training.
        projected: Projected features of the first step.
        classified: Features that the classifier sees in the first step.
    """
    state = training.state(training.end)
    state['queue_ptr'] = state['queue_ptr'].view(1)
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in case.params['state_dict']))
    return dict(
        loss=training.losses['loss'],
        lr=training.lr,
        features_first=F.normalize(projected, dim=1),
        logits_first=training.start.head.fc(classified),
        queue_labels_final=state['queue_l'],
        queue_ptr_final=state['queue_ptr'],
        eval_output=training.predict(),
    )
