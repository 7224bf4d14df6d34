r"""Aggregation and linear map in one, for examples that share their points:

.. math::
    h_{ibo} = \sum_{m, c} W_{omc} \sum_{e = (j, i)} s_{em} f_{jbc} + \beta_o

On the CPU the sums over neighbours, which are many times as large as the features, stay
in the cache: they are formed piece by piece, and kept for the gradient unless they are
too many.
"""

from collections.abc import Iterator, Sequence
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

_PIECE = 1 << 19  # sums that are formed together
_KEPT = 9 << 19  # sums that are kept for the gradient; more are formed anew


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
        channels, rows = kernel.size(1), x.flatten(1)
        kernel_last = _swapped(weight, channels)
        out = x.new_empty(size + 1, x.size(1), len(weight))
        number, keep = _number(x, tiling), None
        if any(ctx.needs_input_grad) and number * weight.size(1) <= _KEPT:
            keep = x.new_empty(number, weight.size(1))
        for tile, part in _parts(x, tiling, channels):
            factors = sources_of(rows, tile), edges_of(kernel, tile)
            sums = _sums(*factors, x, channels, None if keep is None else keep[part])
            some = product(sums, kernel_last, bias)
            out.index_copy_(0, tile.targets.view(-1), some.view(-1, *out.shape[1:]))
        ctx.save_for_backward(x, kernel, weight, bias, edge_index, keep)
        ctx.size, ctx.tiling = size, tiling
        return out[:size].flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        *inputs, keep = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(grad):
            return *_differentiable_gradients(ctx, inputs, grad), *(None,) * 3
        x, kernel, weight, bias, _ = inputs
        channels, rows = kernel.size(1), x.flatten(1)
        kernel_last = _swapped(weight, channels)
        to_x = torch.zeros_like(rows)
        to_kernel = kernel.new_empty(len(kernel) + 1, channels)
        number = _number(x, ctx.tiling)
        all_sums = x.new_empty(number, weight.size(1)) if keep is None else keep
        all_grad = x.new_empty(number, len(weight))
        grad = grad.reshape(ctx.size, 1, -1)
        for tile, part in _parts(x, ctx.tiling, channels):
            values, edges = sources_of(rows, tile), edges_of(kernel, tile)
            if keep is None:
                _sums(values, edges, x, channels, all_sums[part])
            all_grad[part] = targets_of(grad, tile).view(-1, len(weight))
            to_sums = product(all_grad[part], kernel_last.t())
            to_sums = to_sums.view(len(values), -1, *x.shape[1:], channels)
            to_sums = to_sums.permute(0, 2, 3, 1, 4)
            to_sums = to_sums.reshape(len(values), rows.size(1), -1)
            to_edges = torch.bmm(values, to_sums).view(-1, channels)
            to_kernel.index_copy_(0, tile.edges.view(-1), to_edges)
            to_values = torch.bmm(edges, to_sums.transpose(1, 2)).flatten(0, 1)
            to_x.index_add_(0, tile.sources.view(-1), to_values)
        # The sums of targets that tiles are filled up with are zero.
        to_weight = _swapped(product(all_grad.t(), all_sums.t()), x.size(2))
        to_bias = None if bias is None else grad.view(-1, len(weight)).sum(0)
        return to_x.view_as(x), to_kernel[:-1], to_weight, to_bias, None, None, None


def _number(x: Tensor, tiling: Tiling) -> int:
    """Rows of all tiles, a target and example each."""
    return sum(tile.targets.numel() for tile in tiling.tiles) * x.size(1)


def _parts(x: Tensor, tiling: Tiling, channels: int) -> Iterator[tuple[Tiles, slice]]:
    """Some tiles, and which of the rows are theirs."""
    start = 0
    for tile in pieces(tiling, channels * x[0].numel(), _PIECE):
        end = start + tile.targets.numel() * x.size(1)
        yield tile, slice(start, end)
        start = end


def _sums(
    values: Tensor, edges: Tensor, x: Tensor, channels: int, out: Optional[Tensor]
) -> Tensor:
    """The sums over neighbours, :math:`(T I B, C M)`, of features :math:`(T, J, B C)`
    and kernel values :math:`(T, J, I M)`."""
    factors = values.transpose(1, 2), edges
    if out is not None and edges.size(2) == channels:
        torch.bmm(*factors, out=out.view(len(values), -1, channels))
        return out
    sums = torch.bmm(*factors).view(len(values), *x.shape[1:], -1, channels)
    sums = sums.permute(0, 3, 1, 2, 4).reshape(-1, x.size(2) * channels)
    return sums if out is None else out.copy_(sums)


def _swapped(weight: Tensor, first: int) -> Tensor:
    """Weights with two kinds of columns, so many of the first, in the other order:
    sums have the kernel channels last."""
    return weight.unflatten(1, (first, -1)).transpose(1, 2).flatten(1)


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
