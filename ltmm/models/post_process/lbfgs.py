"""Minimize a smooth function of a few numbers."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ['minimize']


@torch.enable_grad()
def minimize(function: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Return the minimizer found by L-BFGS with strong Wolfe line search, float64.

    Args:
        function: From a tensor like ``start`` to a scalar.
        start: First value.
    """
    x = start.detach().double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn='strong_wolfe'
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = function(x)
        value.backward()
        return value

    optimizer.step(closure)
    return x.detach()
