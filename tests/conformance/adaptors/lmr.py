"""LMR: shares, attention, reconstruction and mixing, in the form of the paper and in that of the repository."""

from typing import Any
from unittest import mock

import numpy as np
import torch

from ltmm.models.heads import LMRHead
from ltmm.models.heads.lmr_head import reconstruction_weights
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('lmr', ignores=dict(torch_seed_of_mix='the drawn matrix is stored', seed='of the stored inputs'))
def lmr(case: Case) -> dict[str, Any]:
    return _repository_form(case) if 'bank' in case else _paper_form(case)


def _paper_form(case: Case) -> dict[str, Any]:
    params, label = case.params, case['labels']
    features = case['features'].requires_grad_()
    head = _head(case, features, epsilon=params['epsilon'])
    rebuilt = head.reconstruct(features, label)
    (rebuilt * torch.linspace(-1, 1, rebuilt.numel(), dtype=rebuilt.dtype).view_as(rebuilt)).sum().backward()
    with mock.patch.object(LMRHead, 'draw', lambda *args: _draws(case['mix_matrix'])):
        mixed, score = head.mix(rebuilt, label)
    return dict(
        class_contrib=head.share,
        few_shot_mask=head.is_few.long(),
        reconstructed=rebuilt,
        grad_features=features.grad,
        mixed_features=mixed,
        mixed_labels=score,
    )


def _draws(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Partner and own share of each row of a mixing matrix, (N,) and (N,)."""
    own = matrix.diagonal()
    others = matrix - torch.diag(own)
    assert ((others > 0).sum(1) <= 1).all() and torch.allclose(matrix.sum(1), torch.ones_like(own))
    return others.argmax(1), own


def _repository_form(case: Case) -> dict[str, Any]:
    params, label, bank = case.params, case['query_labels'], case['bank']
    query = case['query'].requires_grad_()
    num_old = len(bank) - len(query)
    case.check('newest', query, bank[num_old:])
    case.check('newest labels', label, case['bank_labels'][num_old:])
    case.check('epsilon', params['epsilon'], 'max(5,min(counts))')
    sizes = dict(bank_size=len(bank) if params['bank_size'] else 0, norm_affine=True, norm_eps=1e-6)
    head = _head(case, query, min_share=params['h'], authors_mask=True, **sizes)
    if params['bank_size']:
        assert len(bank) == params['bank_size'] * len(query)
        head.bank.update(bank[:num_old], case['bank_labels'][:num_old])
    recorded = []

    def recording(*args: Any) -> torch.Tensor:
        recorded[:] = args[2], reconstruction_weights(*args)
        return recorded[1]

    with mock.patch(f'{LMRHead.__module__}.reconstruction_weights', recording):
        rebuilt = head.reconstruct(query, label)
    (rebuilt * torch.linspace(-1, 1, rebuilt.numel(), dtype=rebuilt.dtype).view_as(rebuilt)).sum().backward()
    hidden, attention = recorded
    return dict(
        class_contrib=head.share,
        mask=hidden.double(),
        attention=attention,
        reconstructed=rebuilt,
        grad_query=query.grad,
    )


def _head(case: Case, features: torch.Tensor, **options: Any) -> LMRHead:
    params, counts = case.params, np.asarray(case.arrays['class_counts']).tolist()
    options |= dict(scale=params['d'], max_share=params['l'], few_shot=params['omega'])
    head = dict(type='ltmm.LMRHead', num_classes=len(counts), in_channels=features.size(1), class_counts=counts)
    return MODELS.build(dict(head, loss=dict(type='mmpretrain.CrossEntropyLoss'), **options)).double()
