"""Mixing of images: Prior-LT, CMO."""

import re
from typing import Any

import numpy as np
import torch

from ltmm.models.batch_augments import BATCH_AUGMENTS
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('prior_lt')
def prior_lt(case: Case) -> dict[str, Any]:
    params, target = case.params, case['target']
    counts = params['cls_num_list']
    loss = MODELS.build(dict(type='ltmm.BayiasLoss', class_counts=counts, reduction='none'))
    augment = dict(type='ltmm.UniMix', alpha=params['alpha'], tau=params['tau'], class_counts=counts)
    augment = BATCH_AUGMENTS.build(augment)
    np.random.seed(params['np_seed'])
    partner, share = augment.draw(augment.counts_of(torch.eye(len(counts))[target]))
    return case.loss_and_grad(loss) | dict(partner_index=partner, lam=share)


@adaptor('cmo_rand_bbox')
def cmo_rand_bbox(case: Case) -> dict[str, Any]:
    called = case.called.replace(' ', '')
    shape = tuple(map(int, re.search(r'rand_bbox\(\(\d+,\d+,(\d+),(\d+)\)', called).groups()))
    first, second = map(float, re.search(r'beta\(([\d.]+),([\d.]+)\)', called).groups())
    case.check('beta', first, second)
    augment = BATCH_AUGMENTS.build(dict(type='ltmm.CMO', alpha=first))
    np.random.seed(case.params['np_seed'])
    boxes, shares = [], []
    for _ in case.arrays['bbox']:
        state = np.random.get_state()
        drawn = np.random.beta(augment.alpha, augment.alpha)
        np.random.set_state(state)
        (top, bottom, left, right), share = augment.draw(shape)
        boxes.append((top, left, bottom, right))
        shares.append((drawn, share))
    return dict(bbox=np.array(boxes), lam=np.array(shares))
