"""GLMC: mixing of both views, and the losses."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ltmm.models.batch_augments import BATCH_AUGMENTS
from ltmm.models.layers import TwoBranchLinear
from ltmm.models.losses import LossInputs
from ltmm.models.losses.classification.cumulative_loss import uniform_share
from ltmm.models.losses.contrastive.view_consistency_loss import view_consistency
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('glmc')
def glmc(case: Case) -> dict[str, Tensor]:
    params, counts = case.params, case.arrays['class_counts'].tolist()
    epoch, epochs = params['epoch_0_based'], params['epochs']
    case.check('alpha', uniform_share(epoch, epochs), params['alpha'])
    loss = MODELS.build(dict(type='ltmm.CumulativeLoss', power=params['label_weighting'], class_counts=counts))
    loss.set_progress(epoch, epochs)
    mixed, label, share = _mix(case, len(counts))
    weighted = loss.class_weight * label
    logits, zp = case['logits'].requires_grad_(), case['zp'].requires_grad_()
    uniform, balanced = (logits[[branch, branch + 2]].flatten(0, 1) for branch in (0, 1))
    classifier = TwoBranchLinear(len(counts), len(counts), bias=False).double()
    classifier.uniform.weight.data = torch.eye(len(counts)).double()  # the features are its logits
    terms = loss(LossInputs(label, cls_score=balanced, features=uniform, classifier=classifier))
    contrast = -view_consistency(zp[[0, 2]], zp[[1, 3]]).mean()
    total = sum(terms.values()) + params['contrast_weight'] * contrast
    total.backward()
    alpha = params['alpha']
    return dict(
        per_cls_weights=loss.class_weight,
        lam=np.array(share),
        mixup_x=mixed[0],
        cutmix_x=mixed[1],
        mixup_y=label,
        cutmix_y=label,
        mixup_y_w=weighted,
        cutmix_y_w=weighted,
        loss=total,
        balance_loss=terms['loss_uniform'] / alpha,
        rebalance_loss=terms['loss_balanced'] / (1 - alpha),
        contrast_loss=contrast,
        grad_logits=logits.grad,
        grad_zp=zp.grad,
    )


class GivenPartners:
    """The second stream of a case."""

    def __init__(self, images: Tensor, score: Tensor) -> None:
        self.images, self.score = images, score

    def read(self, size: int, epoch: int) -> tuple[Tensor, Tensor]:
        return self.images, self.score


def _mix(case: Case, num_classes: int) -> tuple[Tensor, Tensor, float]:
    """Mix the images of a case, (2, N, ...), and their labels, (N, C), with its seed; lambda too."""
    score, partner_score = (F.one_hot(case[f'target_{name}'], num_classes).double() for name in ('org', 'invs'))
    augment = BATCH_AUGMENTS.build(dict(type='ltmm.GlobalLocalMix'))
    augment.set_progress(0, 1)
    augment.partners = GivenPartners(torch.cat([case['invs1'], case['invs2']]), partner_score)
    seed, images = case.params['mix_seed'], torch.cat([case['org1'], case['org2']])
    np.random.seed(seed)
    share, _ = augment.draw(images.shape[-2:])
    np.random.seed(seed)
    mixed, label = augment.mix(images, score)
    return mixed.unflatten(0, (2, -1)), label, share
