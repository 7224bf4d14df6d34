"""Swish, for networks of which derivatives are trained."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lieconv_pyg.nn.eager import is_plain


class Swish(torch.nn.SiLU):
    r"""The activation :math:`x \sigma(x)`, as :class:`torch.nn.SiLU`, with less memory
    and time where gradients are differentiated again, as those of energies are: torch
    then keeps six tensors, and this two."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies the activation."""
        return _Swish.apply(x) if is_plain(x) else F.silu(x)


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.silu(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _Slope.apply(grad, x)


class _Slope(torch.autograd.Function):
    """The gradient times the first derivative."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(grad, x)
        return torch.ops.aten.silu_backward(grad, x)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor]:
        grad, x = ctx.saved_tensors
        if torch.is_grad_enabled():
            s = x.sigmoid()
            first = s * (1 + x * (1 - s))
            second = s * (1 - s) * (2 + x * (1 - 2 * s))
            return above * first, above * grad * second
        s = x.sigmoid()
        # s (1 - s) (2 + x (1 - 2 s)), in place
        second = torch.addcmul(x, x, s, value=-2).add_(2)
        second.mul_(s).mul_(s.neg_().add_(1)).mul_(grad).mul_(above)
        return torch.ops.aten.silu_backward(above, x), second
