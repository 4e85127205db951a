"""Distribution-balanced loss and COMIC on given features."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

from ltmm.models.heads.comic_head import BRANCHES, COMICHead
from ltmm.models.layers.causal_cosine import RunningDirection

from ..adaptors.multi_label import db_options
from ..frame import Case, adaptor
from .features import FeatureTraining, GivenFeatures, linear_warm_up, read_steps, train_on_features
from .weights import compare_state, draw_state

DRAWN = dict(seed_y='what the labels were drawn with')


def without_backbone(cfg: Config) -> None:
    """Start at the features that the frozen backbone gives."""
    cfg.model.backbone = dict(type='ltmm.NoBackbone')
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'ltmm.FreezeHook']


@adaptor(
    'trajectory_db', ignores=dict(DRAWN, seed_d='of the stored masks', **{'loss_cls.type': "the authors' name of it"})
)
def db(case: Case) -> dict[str, Any]:
    params, loss_cls = case.params, case.params['loss_cls']
    case.check('sigmoid', loss_cls['use_sigmoid'], True)
    constants = db_options(loss_cls) | dict(type='ltmm.DistributionBalancedLoss', loss_weight=loss_cls['loss_weight'])
    overrides = {
        **linear_warm_up(case),
        'model.head.loss': dict(constants, _delete_=True),
        'model.head.num_classes': params['num_classes'],
        'model.head.in_channels': params['out_channels'],
        'model.neck.in_channels': params['in_channels'],
        'model.neck.out_channels': params['out_channels'],
        'model.neck.dropout': params['dropout'],
        'data_preprocessor.num_classes': params['num_classes'],
    }
    data = GivenFeatures(case.arrays['labels'], params['seed_x'], params['in_channels'], '0.45 abs')
    case.check('batch', data.labels.shape[1], params['batch'])
    entries = [entry for entry in params['init'] if entry[3] != 'unused']
    names = {'neck.fc.': 'neck.layers.0.', 'neck.bn.': 'neck.layers.1.', 'head.fc_cls.': 'head.fc.'}
    our_name = {name: _renamed(name, names) for _, name, _, _ in entries}
    masks = [*case['dropout_keep'].double()]
    with mock.patch.object(F, 'dropout', _given_dropout(masks)):
        training = train_on_features(
            'coco_mlt/db_r50.py',
            data,
            {our_name[name]: value for name, value in draw_state(entries, params['seed_w']).items()},
            read_steps(case),
            overrides,
            dict(instance_counts=params['class_freq'], num_images=params['num_images']),
            without_backbone,
        )
    with mock.patch.object(F, 'dropout', _given_dropout(masks)):
        logits = training.start(training.first).detach()
    state = training.end.state_dict()
    compare_state(case, 'state', (state[our_name[name]] for _, name, _ in params['state']))
    return dict(
        loss_total=training.losses['loss'],
        lr=training.lr(),
        grad_norm=training.grad_norm,
        train_logits_step0=logits + training.start.head.loss_module.shift,  # the authors' loss adds it in place
        eval_logits=training.end(training.evaluated).detach(),
    )


def _renamed(name: str, prefixes: dict[str, str]) -> str:
    (prefix,) = (prefix for prefix in prefixes if name.startswith(prefix))
    return prefixes[prefix] + name.removeprefix(prefix)


def _given_dropout(masks: list[Tensor]) -> Any:
    """``F.dropout`` with given masks, one per call in training."""
    remaining = iter(masks)

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * next(remaining) / (1 - p) if training else x

    return dropout


COMIC_NAMES = {
    'additive_attention.W_k.': 'head.attention.key.',
    'additive_attention.W_q.': 'head.attention.query.',
    'additive_attention.w_v.': 'head.attention.score.',
    **{f'feat_model.{branch}.fc.0.': f'neck.{branch}.proj.' for branch in BRANCHES},
    **{f'classifier.{branch}.': f'head.fc.{branch}.' for branch in BRANCHES},
}
PARTS = dict(feat_model='neck.{}.', classifier='head.fc.{}.', additive_attention='head.attention.')


@adaptor(
    'trajectory_comic',
    ignores=dict(DRAWN, **dict.fromkeys(('seed_l', 'label_prob', 'missing'), 'what the labels were drawn with')),
)
def comic(case: Case) -> dict[str, Any]:
    params, arrays, classifier = case.params, case.arrays, case.params['classifier']
    all_labels, index = arrays['train_labels'].astype(int), arrays['index']
    case.check('sizes', [len(all_labels), index.shape[1]], [params['num_train'], params['batch']])
    data = GivenFeatures(all_labels[index], params['seed_x'], params['in_channels'], '0.45 abs', all_labels.tolist())
    attention = dict(type='ltmm.AdditiveAttention', hidden_features=params['attention_hidden'], dropout=0.0)
    overrides = {
        'model.neck.in_channels': params['in_channels'],
        'model.neck.out_channels': params['feat_dim'],
        'model.head.in_channels': params['feat_dim'],
        'model.head.num_classes': params['num_classes'],
        'model.head.classifier': dict(
            type='ltmm.CausalCosine',
            scale=classifier['tau'],
            num_heads=classifier['num_head'],
            **{name: classifier[name] for name in ('alpha', 'gamma')},
        ),
        'model.head.attention': attention if params['attention'] else None,
        'data_preprocessor.num_classes': params['num_classes'],
    }
    entries = [entry for entry in params['init'] if params['attention'] or 'attention' not in entry[1]]
    our_name = {name: _renamed(name, COMIC_NAMES) for _, name, _, _ in entries}
    balanced, pre_logits = RunningDirection(params['feat_dim'], momentum=0.9).double(), COMICHead.pre_logits

    def recording_pre_logits(head: COMICHead, feats: dict) -> Tensor:
        balanced.update(feats['balanced'][-1])  # our balanced classifier keeps no mean, as it does not use one
        return pre_logits(head, feats)

    with mock.patch.object(COMICHead, 'pre_logits', recording_pre_logits):
        training = train_on_features(
            f'{params["settings"]}_mlt/comic_r50.py',
            data,
            {our_name[name]: value for name, value in draw_state(entries, params['seed_w']).items()},
            read_steps(case),
            overrides,
            change=without_backbone,
            watch=lambda model: [model.head.corrector[branch].recalled.sum().item() for branch in BRANCHES],
        )
    end = training.end
    state = end.state_dict()
    for branch in BRANCHES:
        mean = balanced if branch == 'balanced' else end.head.fc[branch].embedding
        state[f'embed_mean.{branch}'] = mean.total
        state[f'corrector_weight.{branch}'] = end.head.corrector[branch].class_weight
    compare_state(case, 'state', (state[our_name.get(name, name)] for _, name, _ in params['state']))
    return dict(
        _logits(case, training),
        loss_terms=np.column_stack([values for name, values in training.losses.items() if name != 'loss']),
        loss_total=training.losses['loss'],
        corrected_labels=training.watched,
        lr=np.column_stack([*_rates(case, training)]),
    )


def _rates(case: Case, training: FeatureTraining) -> Iterator[list[float]]:
    """Rates of each part, the attention last, checked against the optimizer that the authors give the part."""
    order = [(part, branch) for branch in BRANCHES for part in ('feat_model', 'classifier')]
    order += [('additive_attention', 'balanced')] * case.params['attention']
    weight_decay = [group['weight_decay'] for group in training.optimizer.param_groups]
    for part, branch in order:
        theirs = case.params['parts'][branch][part]
        drops = [(epoch + 1) // theirs['step_size'] for epoch in case.params['epoch_of_step']]
        rates = training.lr(PARTS[part].format(branch))
        case.check(f'rates of {part}.{branch}', rates, theirs['lr'] * theirs['gamma'] ** np.array(drops))
        case.check('weight decay', weight_decay, [theirs['weight_decay']] * len(weight_decay))
        yield rates


@torch.no_grad()
def _logits(case: Case, training: FeatureTraining) -> dict[str, Tensor]:
    """Logits of the first step, (N, 5, C), and of the evaluation batch, (N, C)."""
    head, feats = training.start.head, training.start.extract_feat(training.first)
    biased = [logits for branch in ('head', 'tail') for logits in head.fc[branch].with_moved(feats[branch][-1])]
    expected, logits = case.arrays['train_logits_step0'], torch.stack([*biased, head(feats)], dim=1)
    case.check('train_logits_step0', logits, expected, abs(expected).max())  # our running mean is float32
    end_head, end_feats = training.end.head, training.end.extract_feat(training.evaluated)
    return dict(
        eval_logits=end_head(end_feats),
        **{f'eval_{branch}_logits': end_head.fc[branch](end_feats[branch][-1]) for branch in ('head', 'tail')},
    )
