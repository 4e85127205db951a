"""Classifiers of dense heads, a 1x1 convolution on given features of all levels: EFL, EQFL."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ltmm.registry import MODELS

from ..adaptors.detection import anchors, efl_options
from ..frame import Case, adaptor
from .box_heads import IGNORED, LABELS
from .features import GivenFeatures, linear_warm_up, read_steps, train_on_features
from .weights import compare_state, draw_state

GIVEN = dict(
    LABELS,
    **{name: text for name, text in IGNORED.items() if name in ('seed_y', 'foreground', 'start')},
    bias='a number that `init` gives',
    ignored='anchors that the labels tell',
)
STATE = {
    'loss_cls.pos_grad': lambda loss: loss.gradients.positive,
    'loss_cls.neg_grad': lambda loss: loss.gradients.negative,
    'loss_cls.pos_neg': lambda loss: loss.gradient_ratio,
}


@MODELS.register_module()
class AnchorClassifier(BaseModel):
    """The classifier of a dense head alone, and its loss, called level by level.

    Args:
        loss_cls: config of the loss.
        in_channels: D.
        num_classes: C.
        level_sizes: locations of each level.
        **kwargs: of the model.
    """

    def __init__(
        self, loss_cls: dict, in_channels: int, num_classes: int, level_sizes: Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.loss_cls = MODELS.build(loss_cls)
        self.fc_cls = nn.Conv2d(in_channels, self.loss_cls.get_dense_channels(num_classes), 1)
        self.level_sizes = list(level_sizes)

    def forward(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, list[Tensor]]:
        score = self.fc_cls(inputs).flatten(1)  # (N, C), image by image and in each level by level
        if mode == 'tensor':
            return score
        target, quality = torch.stack([sample.gt_score for sample in data_samples]).double().unbind(1)
        label, weight = anchors(target.long(), score.size(1))
        num_objects = max((target > 0).sum().item(), 1)
        rows = torch.arange(len(score)).view(-1, sum(self.level_sizes)).split(self.level_sizes, dim=1)
        with self.loss_cls.one_update():
            losses = [self.loss(score[i], label[i], quality[i], weight[i], num_objects) for i in map(torch.ravel, rows)]
        return dict(loss_cls=losses)

    def loss(self, score: Tensor, label: Tensor, quality: Tensor, weight: Tensor, num_objects: int) -> Tensor:
        """Compute the loss of a level; NaN stands for no quality."""
        return self.loss_cls(score, label if quality.isnan().all() else (label, quality), weight, num_objects)


def train_dense(case: Case, config: str) -> dict[str, Any]:
    """Train the classifier of a config's dense head."""
    pytest.importorskip('mmcv.ops')
    params, labels = case.params, case.arrays['labels']
    sizes = [height * width for height, width in params['levels']]
    case.check('anchors', [*labels.shape[1:], params['rois']], [params['batch'], sum(sizes), labels[0].size])
    quality = case.arrays['quality'] if 'quality' in case else np.full(labels.shape, np.nan)
    targets = np.stack([labels, quality], axis=-1).reshape(len(labels), -1, 2)
    data = GivenFeatures(targets, params['seed_x'], params['in_channels'], 'relu')

    def classifier_alone(cfg: Config) -> None:
        cfg.model = dict(
            type='ltmm.AnchorClassifier',
            loss_cls=cfg.model.bbox_head.loss_cls,
            in_channels=params['in_channels'],
            num_classes=params['num_classes'],
            level_sizes=sizes,
        )

    schedule = params['lr_config']  # at the full rate one iteration before mmcv
    warm_up = dict(start_factor=schedule['warmup_ratio'], end=schedule['warmup_iters'], by_epoch=False)
    training = train_on_features(
        config,
        data,
        draw_state(params['init'], params['seed_w']),
        read_steps(case),
        {
            **{name: value for name, value in linear_warm_up(case).items() if 'scheduler.0' not in name},
            'param_scheduler.0': dict(convert_to_iter_based=False, **warm_up),
            **{f'model.loss_cls.{name}': value for name, value in efl_options(params['loss_cls']).items()},
        },
        [1] * params['num_classes'],
        classifier_alone,
    )
    end, shape = training.end, case.arrays['eval_logits'].shape
    if params['start'] != 'spread':
        prior = torch.full((params['num_classes'],), end.loss_cls.prior_prob).logit()
        case.check('prior', prior, training.start.fc_cls.bias)
    logits = end(training.evaluated).detach().view(shape)
    own = end.state_dict()
    compare_state(
        case, 'state', (STATE[name](end.loss_cls) if name in STATE else own[name] for _, name, _ in params['state'])
    )
    final = {f'final_{name.rpartition(".")[2]}': value(end.loss_cls) for name, value in STATE.items()}
    return dict(
        {name: value for name, value in final.items() if name in case},
        loss_total=training.losses['loss'],
        loss_terms=np.reshape(training.losses['loss'], (-1, 1)),
        lr=training.lr(),
        grad_norm=training.grad_norm,
        train_logits_step0=training.start(training.first).detach().view(shape),
        eval_logits=logits,
        eval_scores=logits.sigmoid(),
    )


@adaptor('trajectory_efl', ignores=GIVEN)
def efl(case: Case) -> dict[str, Any]:
    return train_dense(case, 'lvis/efl_atss_r50_2x.py')


@adaptor('trajectory_eqfl', ignores=GIVEN)
def eqfl(case: Case) -> dict[str, Any]:
    return train_dense(case, 'lvis/eqfl_gfl_r50_2x.py')
