"""The ops of mmcv that detection needs, on torchvision's kernels: a stand-in for mmcv's compiled extension.

:func:`ltmm.utils.environment.provide_mmcv_ops` makes this file the module ``mmcv._ext`` where mmcv is installed without
compiled ops, so the functions have the names and arguments with which ``mmcv.ops`` calls the extension, and write into
the tensors that they get. The kernels exist for the CPU, where results equal those of the compiled ops, and for GPUs.
All other ops raise an EnvironmentProblem when they are called.
"""

from collections.abc import Callable
from functools import partial
from typing import NoReturn

import numpy as np
import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from ltmm.utils.environment import EnvironmentProblem

KERNELS = torch.ops.torchvision


def __getattr__(name: str) -> Callable:
    """Return a function that raises, for ``mmcv.ops`` asks for all ops when it is imported."""
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return partial(_refuse, name)


def _refuse(op: str, *args: object, **kwargs: object) -> NoReturn:
    raise EnvironmentProblem(f"mmcv's op {op} needs mmcv's compiled ops: make install OPS=compiled")


def get_compiler_version() -> str:
    return 'none: ops of torchvision'


def get_compiling_cuda_version() -> str:
    return 'not available'


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes to keep, by decreasing score."""
    order = scores.sort(0, descending=True)[1]
    boxes = boxes[order].float()
    boxes[:, 2:] += offset
    # torchvision sorts equal scores in another order than mmcv: give it the ranks; float32 is exact up to 2**24
    ranks = torch.arange(len(order), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return order[KERNELS.nms(boxes, ranks, float(np.float32(iou_threshold)))]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Write boxes and decayed scores into ``dets`` in the order of selection; return the indices. On the CPU only.

    Args:
        method: 0 drops boxes (``'naive'``), 1 decays linearly, 2 by a Gaussian.
    """
    x1, y1, x2, y2 = boxes.numpy().T
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    score, index = scores.numpy().copy(), np.arange(len(boxes))
    selected = 0
    while selected < len(index):
        best = selected + score[index[selected:]].argmax()
        index[[selected, best]] = index[[best, selected]]
        i, rest = index[selected], index[selected + 1 :]
        width = np.minimum(x2[i], x2[rest]) - np.maximum(x1[i], x1[rest]) + offset
        height = np.minimum(y2[i], y2[rest]) - np.maximum(y1[i], y1[rest]) + offset
        overlap = width.clip(0) * height.clip(0)
        with np.errstate(invalid='ignore'):
            iou = np.nan_to_num(overlap / (areas[i] + areas[rest] - overlap))  # 0 / 0 for boxes without area
        if method == 2:
            decay = np.exp(-(iou * iou) / np.float32(sigma))
        else:
            decay = np.where(iou >= np.float32(iou_threshold), 1 - iou if method == 1 else 0, 1)
        score[rest] *= decay.astype(score.dtype)
        keep = ~(score[rest] < np.float32(min_score))
        num_kept = keep.sum()
        rest[:num_kept][~keep[:num_kept]] = rest[num_kept:][keep[num_kept:]][::-1]  # mmcv fills gaps from the end
        selected += 1
        index = index[: selected + num_kept]
    index = torch.from_numpy(index)
    dets[: len(index)] = torch.cat([boxes[index], torch.from_numpy(score)[index, None]], 1)
    return index


def roi_align_forward(
    input: Tensor, rois: Tensor, output: Tensor, *argmax: Tensor, pool_mode: int, **geometry: float
) -> None:
    if pool_mode == 0:
        _refuse('roi_align with pool_mode="max"')
    output.copy_(KERNELS.roi_align(input, rois, *_roi_align_geometry(**geometry)))


def roi_align_backward(*tensors: Tensor, pool_mode: int, **geometry: float) -> None:
    grad_output, rois, _, _, grad_input = tensors
    *geometry, sampling_ratio, aligned = _roi_align_geometry(**geometry)
    shape = grad_input.shape
    if grad_output.dtype == torch.bfloat16:  # --amp on the CPU: no kernel; autocast widens the forward pass only
        grad_output, rois = grad_output.float(), rois.float()
    grad_input.copy_(KERNELS._roi_align_backward(grad_output, rois, *geometry, *shape, sampling_ratio, aligned))


def _roi_align_geometry(
    aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> tuple[float, ...]:
    return spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    is_target, p, log_p, log_not_p = _probabilities(input, target)
    positive = alpha * (1 - p) ** gamma * log_p
    negative = (1 - alpha) * p**gamma * log_not_p
    output.copy_(-torch.where(is_target, positive, negative) * _weight_of(target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    is_target, p, log_p, log_not_p = _probabilities(input, target)
    positive = alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p)
    negative = (1 - alpha) * p**gamma * (gamma * (1 - p) * log_not_p - p)
    grad_input.copy_(-torch.where(is_target, positive, negative) * _weight_of(target, weight))


def _probabilities(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return which (sample, class) is the target, the probabilities p, log(p) and log(1 - p)."""
    is_target = target[:, None] == torch.arange(input.shape[1], device=input.device)
    p = input.float().sigmoid()
    tiny = torch.finfo(p.dtype).tiny
    return is_target, p, p.clamp(min=tiny).log(), (1 - p).clamp(min=tiny).log()


def _weight_of(target: Tensor, weight: Tensor) -> Tensor | float:
    return weight[target, None] if weight.numel() else 1.0


def deform_conv_forward(*tensors: Tensor, im2col_step: int, **geometry: int) -> None:
    input, weight, offset, output, *_ = tensors
    output.copy_(KERNELS.deform_conv2d(input, weight, offset, *_deform_conv_constants(input, weight, **geometry)))


def deform_conv_backward_input(*tensors: Tensor, im2col_step: int, **geometry: int) -> None:
    input, offset, grad_output, grad_input, grad_offset, weight, _ = tensors
    constants = _deform_conv_constants(input, weight, **geometry)
    grads = KERNELS._deform_conv2d_backward(grad_output, input, weight, offset, *constants)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(*tensors: Tensor, scale: float, im2col_step: int, **geometry: int) -> None:
    input, offset, grad_output, grad_weight, *_ = tensors
    constants = _deform_conv_constants(input, grad_weight, **geometry)  # the gradient does not depend on the weight
    grads = KERNELS._deform_conv2d_backward(grad_output, input, grad_weight, offset, *constants)
    grad_weight.copy_(scale * grads[1])


def _deform_conv_constants(
    input: Tensor,
    weight: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
) -> tuple[Tensor | int, ...]:
    """Return mask and bias of torchvision's kernels, which are not used, and the geometry."""
    mask, bias = input.new_zeros(len(input), 1), weight.new_zeros(len(weight))
    return mask, bias, dH, dW, padH, padW, dilationH, dilationW, group, deformable_group, False


def modulated_deform_conv_forward(*tensors: Tensor, with_bias: bool, **geometry: int) -> None:
    input, weight, bias, _, offset, mask, output, _ = tensors
    constants = _modulated_deform_conv_constants(weight, bias, with_bias, **geometry)
    output.copy_(KERNELS.deform_conv2d(input, weight, offset, mask, *constants))


def modulated_deform_conv_backward(*tensors: Tensor, with_bias: bool, **geometry: int) -> None:
    input, weight, bias, _, offset, mask, _, *grads, grad_output = tensors
    grad_input, grad_weight, grad_bias, grad_offset, grad_mask = grads
    constants = _modulated_deform_conv_constants(weight, bias, with_bias, **geometry)
    results = KERNELS._deform_conv2d_backward(grad_output, input, weight, offset, mask, *constants)
    for grad, result in zip((grad_input, grad_weight, grad_offset, grad_mask), results):
        grad.copy_(result)
    if with_bias:
        grad_bias.copy_(results[-1])


def _modulated_deform_conv_constants(
    weight: Tensor,
    bias: Tensor,
    with_bias: bool,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
) -> tuple[Tensor | int, ...]:
    """Return bias and geometry for torchvision's kernels."""
    bias = bias if with_bias else weight.new_zeros(len(weight))
    return bias, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group, True


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Compute multi-scale deformable attention; mmcv calls it for tensors on a GPU and has the same for the CPU."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch  # this module imports mmcv._ext

    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)


def ms_deform_attn_backward(*tensors: Tensor, im2col_step: int) -> None:
    value, shapes, starts, locations, weights, grad_output, *grads = tensors
    inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(inputs[0], shapes, starts, *inputs[1:], im2col_step)
    for grad, result in zip(grads, torch.autograd.grad(output, inputs, grad_output)):
        grad.copy_(result)
