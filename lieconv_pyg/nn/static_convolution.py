r"""Aggregation and linear map in one, for examples that share their points:

.. math::
    h_{ibo} = \sum_{m, c} W_{omc} \sum_{e = (j, i)} s_{em} f_{jbc} + \beta_o

On the CPU the sums over neighbours, which are many times as large as the features, stay
in the cache: they are formed piece by piece, and anew for the gradient.
"""

from collections.abc import Sequence
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from lieconv_pyg.nn.aggregation import (
    aggregate,
    edges_of,
    pieces,
    sources_of,
    targets_of,
)
from lieconv_pyg.nn.eager import is_batched, is_plain_cpu
from lieconv_pyg.nn.linear import product
from lieconv_pyg.nn.tiles import Tiles, Tiling, make_tiling


def convolve(
    x: Tensor,
    kernel: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    edge_index: Tensor,
    size: int,
    tiling: Optional[Tiling] = None,
) -> Tensor:
    r"""The sums above.

    Args:
        x: :math:`(N_s, B, C)` features of the sources.
        kernel: :math:`(E, M)` kernel values of the edges.
        weight: :math:`(C', M C)`.
        bias: :math:`(C')`.
        edge_index: :math:`(2, E)`, sources first; fastest when sorted by target.
        size: number of targets :math:`N`.
        tiling: What :func:`~lieconv_pyg.nn.tiles.make_tiling` makes of
            :obj:`edge_index`, if it is known already.

    Returns:
        :math:`(N B, C')`, the examples of a target next to each other.
    """
    same = x.dtype == kernel.dtype == weight.dtype
    if not (same and is_plain_cpu(x)):
        return _reference(x, kernel, weight, bias, edge_index, size, tiling)
    if tiling is None:
        tiling = make_tiling(edge_index, size)
    return _Convolution.apply(x, kernel, weight, bias, edge_index, size, tiling)


def _reference(
    x: Tensor,
    kernel: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    edge_index: Tensor,
    size: int,
    tiling: Optional[Tiling],
) -> Tensor:
    """One after the other."""
    out = aggregate(x.flatten(1), kernel, edge_index, size, tiling)
    out = out.unflatten(2, x.shape[1:]).transpose(1, 2)
    return F.linear(out.flatten(2).flatten(0, 1), weight, bias)


def _sums(x: Tensor, kernel: Tensor, tile: Tiles) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the sources, kernel values, and the sums over neighbours of each
    target and example, :math:`(T B, M C)`."""
    rows, edges = sources_of(x.flatten(1), tile), edges_of(kernel, tile)
    out = torch.bmm(edges.transpose(1, 2), rows)
    out = out.view(-1, kernel.size(1), *x.shape[1:]).transpose(1, 2)
    return rows, edges, out.reshape(-1, kernel.size(1) * x.size(2))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernel: Tensor,
        weight: Tensor,
        bias: Optional[Tensor],
        edge_index: Tensor,
        size: int,
        tiling: Tiling,
    ) -> Tensor:
        ctx.save_for_backward(x, kernel, weight, bias, edge_index)
        ctx.size, ctx.tiling = size, tiling
        out = x.new_empty(size + 1, x.size(1), len(weight))
        for tile in pieces(tiling, kernel.size(1) * x[0].numel()):
            rows = product(_sums(x, kernel, tile)[2], weight, bias)
            out.index_copy_(0, tile.targets.view(-1), rows.view(-1, *out.shape[1:]))
        return out[:size].flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(grad):
            return *_differentiable_gradients(ctx, inputs, grad), *(None,) * 3
        x, kernel, weight, bias, _ = inputs
        channels = kernel.size(1)
        to_x = torch.zeros_like(x).flatten(1)
        to_kernel = kernel.new_empty(len(kernel) + 1, channels)
        to_weight = torch.zeros_like(weight)
        grad = grad.reshape(ctx.size, 1, -1)
        for tile in pieces(ctx.tiling, channels * x[0].numel()):
            rows, edges, sums = _sums(x, kernel, tile)
            to_out = targets_of(grad, tile).view(-1, len(weight))
            to_weight += to_out.t() @ sums
            to_sums = product(to_out, weight.t())
            to_sums = to_sums.view(-1, x.size(1), channels, x.size(2)).transpose(1, 2)
            to_sums = to_sums.reshape(len(rows), -1, rows.size(2))
            to_edges = torch.bmm(rows, to_sums.transpose(1, 2)).view(-1, channels)
            to_kernel.index_copy_(0, tile.edges.view(-1), to_edges)
            rows = torch.bmm(edges, to_sums).flatten(0, 1)
            to_x.index_add_(0, tile.sources.view(-1), rows)
        to_bias = None if bias is None else grad.view(-1, len(weight)).sum(0)
        return to_x.view_as(x), to_kernel[:-1], to_weight, to_bias, None, None, None


def _differentiable_gradients(
    ctx: Any, inputs: Sequence[Tensor], grad: Tensor
) -> list[Optional[Tensor]]:
    """Gradients of which a derivative will be wanted."""
    with torch.enable_grad():
        # Others than the inputs themselves, which may depend on each other.
        x, kernel, weight, bias, edge_index = (
            t if t is None else t.view_as(t) for t in inputs
        )
        settings = edge_index, ctx.size, ctx.tiling
        out = _reference(x, kernel, weight, bias, *settings)
    parts = x, kernel, weight, bias
    wanted = [t for t in parts if t is not None and t.requires_grad]
    create = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=create))
    return [next(found) if t is not None and t.requires_grad else None for t in parts]
