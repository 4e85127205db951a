"""Focal pixel learning: weights, loss, patches."""

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.tasks.super_resolution import enlarge, focal_pixel_weight, image_to_patches, patches_to_image

from ..frame import Case, adaptor


@adaptor('fpl_sr', ignores={'seed': 'the arrays are stored'})
def fpl_sr(case: Case) -> dict[str, Tensor]:
    if 'image' in case:
        return _patches(case)
    params = case.params
    weights = [dict(alpha=params[f'alpha_{kind}'], gamma=params[f'gamma_{kind}']) for kind in ('sp', 'lp')]
    loss = MODELS.build(
        dict(
            type='ltmm.FocalPixelLoss',
            alpha_static=params['alpha_sp'],
            gamma_static=params['gamma_sp'],
            alpha_learnable=params['alpha_lp'],
            gamma_learnable=params['gamma_lp'],
        )
    )
    residual, hr = case['sr_residual'].requires_grad_(), case['hr']
    bicubic = enlarge(case['lr'], params['scale'])
    sr = residual + bicubic
    value = loss(sr, hr, bicubic)
    value.backward()
    errors = ((hr - image).abs() for image in (bicubic, sr))
    static, learnable = (focal_pixel_weight(error, **weight) for error, weight in zip(errors, weights))
    return dict(bicubic=bicubic, w_static=static, w_learnable=learnable, loss=value, grad_residual=residual.grad)


def _patches(case: Case) -> dict[str, Tensor]:
    size, step = map(int, case.called.partition('(img,')[2].partition(')')[0].split(','))
    patches = image_to_patches(case['image'], size, step)
    merged = patches_to_image(patches, *case['image'].shape[-2:], size, step)
    torch.testing.assert_close(merged, case['image'])
    return dict(patches=patches, merged=merged)
