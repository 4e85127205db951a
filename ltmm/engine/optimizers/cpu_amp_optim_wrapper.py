"""Mixed precision where there is no accelerator."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ltmm.registry import OPTIM_WRAPPERS

__all__ = ['CPUAmpOptimWrapper']


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs the forward pass in bfloat16 on the CPU; MMEngine's ``AmpOptimWrapper`` refuses to be built there.

    bfloat16 has the exponent of float32, so no loss scaling is needed. mmcv's operations (NMS, RoIAlign) cannot take
    it: in a detector, what necks and heads give to one another is cast to float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast to bfloat16 around the forward pass."""
        between_parts = [module for name, module in model.named_modules() if _is_neck_or_head(name)]
        handles = [module.register_forward_hook(_give_float32) for module in between_parts]
        try:
            with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
                yield
        finally:
            for handle in handles:
                handle.remove()


def _is_neck_or_head(name: str) -> bool:
    """Whether a module of this name is one, such as ``neck``, ``rpn_head`` or ``roi_head.bbox_head.0``."""
    return name.rstrip('.0123456789').endswith(('neck', 'head'))


def _give_float32(module: nn.Module, args: tuple, output: Any) -> Any:
    """Hook that casts the tensors in the nested tuples and lists of an output."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (tuple, list)):
        return type(output)(_give_float32(module, args, item) for item in output)
    return output
