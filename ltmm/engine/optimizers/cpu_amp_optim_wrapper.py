"""Mixed precision on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ltmm.registry import OPTIM_WRAPPERS

__all__ = ['CPUAmpOptimWrapper']


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs the forward pass in bfloat16 on the CPU, which MMEngine's ``AmpOptimWrapper`` does not support.

    bfloat16 has the range of float32 and needs no loss scaling. The outputs of necks and heads are cast to float32,
    because mmcv's operations (NMS, RoIAlign) do not support bfloat16. Attention is computed step by step, since
    PyTorch's fused kernel has a slow backward pass in bfloat16: a training step of a small ViT takes half as long.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast to bfloat16 around the forward pass."""
        modules = [module for name, module in model.named_modules() if _is_neck_or_head(name)]
        handles = [module.register_forward_hook(_to_float32) for module in modules]
        try:
            with super().optim_context(model), torch.autocast('cpu', torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _is_neck_or_head(name: str) -> bool:
    """Whether a module is a neck or head by its name, such as ``rpn_head`` or ``roi_head.bbox_head.0``."""
    return name.rstrip('.0123456789').endswith(('neck', 'head'))


def _to_float32(module: nn.Module, args: tuple, output: Any) -> Any:
    """Cast the tensors of an output, in nested tuples and lists too."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (tuple, list)):
        return type(output)(_to_float32(module, args, item) for item in output)
    return output
