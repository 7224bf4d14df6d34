"""Linear maps between many channels."""

from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import Linear

from lieconv_pyg.nn.eager import is_batched, is_plain_cpu

_MANY = 1 << 22  # products of two numbers, from which it is worth the call
_LARGE = 1 << 14  # entries of the result, from which it is faster


def has_onednn() -> bool:
    """Whether torch was built with it, and may use it."""
    return (
        torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def product(a: Tensor, b: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """The product of a matrix and a transposed matrix, plus a bias, by the faster
    library on the CPU; without a derivative."""
    large = len(a) * len(b) >= _LARGE and a.numel() * len(b) >= _MANY
    if not (large and a.dtype == torch.float and has_onednn()):
        return F.linear(a, b, bias)
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """The product of a matrix and a transposed matrix, plus a bias, by oneDNN, which
    is 10 to 20 percent faster than MKL on CPUs that are not Intel's; its derivatives
    are again such products."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, bias: Optional[Tensor]) -> Tensor:
        if is_batched(a, b):
            return F.linear(a, b, bias)
        return product(a, b, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        a, b = ctx.saved_tensors
        need_a, need_b, need_bias = ctx.needs_input_grad
        return (
            _Product.apply(grad, b.t(), None) if need_a else None,
            _gram(grad, a) if need_b else None,
            grad.sum(0) if need_bias else None,
        )


def _gram(a: Tensor, b: Tensor) -> Tensor:
    """The product of a transposed matrix and a matrix: faster with the narrower one
    first."""
    if a.size(1) > b.size(1):
        return _gram(b, a).t()
    return _Product.apply(a.t(), b.t(), None)


class WideLinear(Linear):
    r"""PyG's :class:`~torch_geometric.nn.dense.Linear`, whose large products in single
    precision on the CPU are left to oneDNN."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies the map to the rows of a matrix."""
        if (
            x.dim() == 2
            and x.size(0) * self.weight.numel() >= _MANY
            and x.dtype == self.weight.dtype == torch.float
            and is_plain_cpu(x)
            and has_onednn()
        ):
            return _Product.apply(x, self.weight, self.bias)
        return super().forward(x)
