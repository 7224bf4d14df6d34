r"""The aggregation of LieConv, the contraction that its cost lies in.

For every target :math:`i` it forms

.. math::
    A_{imc} = \sum_{e = (j, i)} s_{em} f_{jc}

from the kernel values :math:`s` of the edges and the features :math:`f` of their
sources: the PointConv factorisation (Wu et al., 2019) that LieConv uses (Finzi et al.,
2020, Appendix A.1), which needs no matrix per edge.

:func:`aggregate_reference` says in two lines what is computed. :func:`aggregate`
computes it as batched matrix products over tiles of the graph
(:mod:`lieconv_pyg.nn.tiles`), in pieces that stay in the cache: never edges × channels
× kernel channels in memory.

The sum over all edges of :math:`G_{imc} s_{em} f_{jc}` is linear in each of its three
arguments. Therefore the derivatives of :func:`aggregate`, which :class:`_Gradients`
computes, have derivatives of the same two kinds, and so on to any order.
"""

from collections.abc import Iterator
from typing import Any, Optional

import torch
from torch import Tensor

from lieconv_pyg.nn.eager import is_batched, is_forward_mode
from lieconv_pyg.nn.tiles import Tiles, Tiling, make_tiling

# Numbers that the result of one batched product may have.
_PIECE = 1 << 21


def aggregate_reference(
    x: Tensor, kernel: Tensor, edge_index: Tensor, size: int
) -> Tensor:
    r"""The definition, with an outer product an edge; for tests and for reading.

    Args:
        x: :math:`(N_s, C)` features of the sources.
        kernel: :math:`(E, M)` kernel values of the edges.
        edge_index: :math:`(2, E)`, sources first.
        size: number of targets :math:`N`.

    Returns:
        :math:`(N, M, C)`.
    """
    outer = kernel.unsqueeze(2) * x.index_select(0, edge_index[0]).unsqueeze(1)
    return outer.new_zeros(size, *outer.shape[1:]).index_add(0, edge_index[1], outer)


def aggregate(
    x: Tensor,
    kernel: Tensor,
    edge_index: Tensor,
    size: int,
    tiling: Optional[Tiling] = None,
) -> Tensor:
    r"""The sums :math:`A_{imc}` above, without an outer product an edge.

    Args:
        x: :math:`(N_s, C)` features of the sources.
        kernel: :math:`(E, M)` kernel values of the edges.
        edge_index: :math:`(2, E)`, sources first; fastest when sorted by target.
        size: number of targets :math:`N`.
        tiling: What :func:`~lieconv_pyg.nn.tiles.make_tiling` makes of
            :obj:`edge_index`, if it is known already.

    Returns:
        :math:`(N, M, C)`; zero for targets without edges. Differentiable any number
        of times in :obj:`x` and :obj:`kernel`, forward and backward. A feature that is
        not finite may reach all targets of its component, and none of any other.
    """
    dtype = torch.promote_types(x.dtype, kernel.dtype)
    if dtype != torch.float64 and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    x, kernel = x.to(dtype), kernel.to(dtype)
    if torch.compiler.is_compiling() or _is_traced(x):
        tiling = None
    elif torch.jit.is_tracing() or is_forward_mode():
        return aggregate_reference(x, kernel, edge_index, size)
    elif tiling is None:
        tiling = make_tiling(edge_index, size)
    return _Aggregate.apply(x, kernel, edge_index, size, tiling)


def pieces(tiling: Tiling, width: int, size: int) -> Iterator[Tiles]:
    """Tiles of which one product has no more than :obj:`size` entries, for results
    with :obj:`width` entries a target."""
    for tile in tiling.tiles:
        _, columns, height = tile.edges.shape
        number = max(1, size // (width * max(height, columns // 16)))
        yield from tile.split(number)


def sources_of(x: Tensor, tile: Tiles) -> Tensor:
    """Features of the sources of each tile :math:`(B, J, C)`."""
    if tile.first_source is not None:
        rows = x.narrow(0, tile.first_source, tile.sources.numel())
        return rows.view(*tile.sources.shape, x.size(1))
    rows = x.index_select(0, tile.sources.view(-1))
    return rows.view(*tile.sources.shape, x.size(1))


def edges_of(kernel: Tensor, tile: Tiles) -> Tensor:
    """Kernel values of each tile :math:`(B, J, I M)`, zero for pairs that are no
    edges."""
    num_edges, channels = kernel.shape
    index = tile.edges.view(-1)
    if tile.is_full:
        rows = kernel.index_select(0, index)
    else:
        empty = (index == num_edges).nonzero().view(-1)
        rows = kernel.index_select(0, index.clamp(max=num_edges - 1))
        rows.index_fill_(0, empty, 0)
    return rows.view(*tile.sources.shape, tile.edges.size(2) * channels)


def targets_of(grad: Tensor, tile: Tiles) -> Tensor:
    """Rows of the targets of each tile :math:`(B, I M, C)`, its first where filled
    up."""
    index = tile.targets
    if tile.first_target is not None:
        rows = grad.narrow(0, tile.first_target, index.numel())
        return rows.reshape(len(index), -1, grad.size(2))
    if index.size(1) > 1:
        index = index.where(index < grad.size(0), index[:, :1])
    rows = grad.index_select(0, index.view(-1))
    return rows.view(len(index), -1, grad.size(2))


def _sum(x: Tensor, kernel: Tensor, size: int, tiling: Tiling) -> Tensor:
    """The sums :math:`A_{imc}`."""
    out = x.new_empty(size + 1, kernel.size(1), x.size(1))
    for tile in pieces(tiling, out[0].numel(), _PIECE):
        factors = edges_of(kernel, tile).transpose(1, 2), sources_of(x, tile)
        if tile.first_target is not None:
            rows = out.narrow(0, tile.first_target, tile.targets.numel())
            torch.bmm(*factors, out=rows.view(len(tile.targets), -1, x.size(1)))
            continue
        rows = torch.bmm(*factors)
        out.index_copy_(0, tile.targets.view(-1), rows.view(-1, *out.shape[1:]))
    return out[:size]


def _gradients(
    grad: Tensor,
    x: Tensor,
    kernel: Tensor,
    tiling: Tiling,
    need_x: bool,
    need_kernel: bool,
) -> tuple[Tensor, Tensor]:
    r""":math:`\sum_{i, m} G_{imc} s_{em}` of each source and
    :math:`\sum_c G_{imc} f_{jc}` of each edge; empty where it is not needed."""
    num_edges, channels = kernel.shape
    grad_x = torch.zeros_like(x) if need_x else x.new_empty(0)
    grad_kernel = kernel.new_empty(num_edges + 1 if need_kernel else 0, channels)
    for tile in pieces(tiling, channels * x.size(1), _PIECE):
        rows = targets_of(grad, tile)
        if need_x:
            out = torch.bmm(edges_of(kernel, tile), rows).view(-1, x.size(1))
            if tile.first_source is not None:
                grad_x.narrow(0, tile.first_source, len(out)).add_(out)
            else:
                grad_x.index_add_(0, tile.sources.view(-1), out)
        if need_kernel:
            out = (sources_of(x, tile) @ rows.transpose(1, 2)).view(-1, channels)
            grad_kernel.index_copy_(0, tile.edges.view(-1), out)
    return grad_x, grad_kernel[:num_edges]


# For tracing, where what is inside must stay unseen: its shapes depend on the graph.


@torch.library.custom_op("lieconv_pyg::aggregate", mutates_args=())
def _sum_op(x: Tensor, kernel: Tensor, edge_index: Tensor, size: int) -> Tensor:
    return _sum(x, kernel, size, make_tiling(edge_index, size))


@torch.library.custom_op("lieconv_pyg::aggregate_gradients", mutates_args=())
def _gradients_op(
    grad: Tensor,
    x: Tensor,
    kernel: Tensor,
    edge_index: Tensor,
    need_x: bool,
    need_kernel: bool,
) -> tuple[Tensor, Tensor]:
    tiling = make_tiling(edge_index, grad.size(0))
    return _gradients(grad, x, kernel, tiling, need_x, need_kernel)


@_sum_op.register_fake
def _(x: Tensor, kernel: Tensor, edge_index: Tensor, size: int) -> Tensor:
    return x.new_empty(size, kernel.size(1), x.size(1))


@_gradients_op.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    kernel: Tensor,
    edge_index: Tensor,
    need_x: bool,
    need_kernel: bool,
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(x) if need_x else x.new_empty(0),
        torch.empty_like(kernel) if need_kernel else kernel[:0].clone(),
    )


def _is_traced(x: Tensor) -> bool:
    return type(x) not in (Tensor, torch.nn.Parameter)


def _gradients_reference(
    grad: Tensor, x: Tensor, kernel: Tensor, edge_index: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition of :func:`_gradients`."""
    rows = grad.index_select(0, edge_index[1])
    to_source = (kernel.unsqueeze(2) * rows).sum(1)
    grad_kernel = (x.index_select(0, edge_index[0]).unsqueeze(1) * rows).sum(2)
    return torch.zeros_like(x).index_add(0, edge_index[0], to_source), grad_kernel


class _Contraction(torch.autograd.Function):
    """One of the two; the operators above know no derivative of their own, since
    those of :meth:`torch.library.custom_op` do not work under :mod:`torch.func`."""

    @classmethod
    def vmap(cls, info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
        rows = [
            cls.apply(
                *(
                    arg if dim is None else arg.select(dim, row)
                    for arg, dim in zip(args, in_dims, strict=True)
                )
            )
            for row in range(info.batch_size)
        ]
        if isinstance(rows[0], Tensor):
            return torch.stack(rows), 0
        return tuple(map(torch.stack, zip(*rows, strict=True))), (0, 0)


class _Aggregate(_Contraction):
    @staticmethod
    def forward(
        x: Tensor,
        kernel: Tensor,
        edge_index: Tensor,
        size: int,
        tiling: Optional[Tiling],
    ) -> Tensor:
        if tiling is None or _is_traced(x):
            return _sum_op(x, kernel, edge_index, size)
        if is_batched(x, kernel):
            return aggregate_reference(x, kernel, edge_index, size)
        return _sum(x, kernel, size, tiling)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.tiling = inputs[4]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, kernel, edge_index = ctx.saved_tensors
        need_x, need_kernel = ctx.needs_input_grad[:2]
        grad_x, grad_kernel = _Gradients.apply(
            grad, x, kernel, edge_index, need_x, need_kernel, ctx.tiling
        )
        return (
            grad_x if need_x else None,
            grad_kernel if need_kernel else None,
            *(None,) * 3,
        )


class _Gradients(_Contraction):
    @staticmethod
    def forward(
        grad: Tensor,
        x: Tensor,
        kernel: Tensor,
        edge_index: Tensor,
        need_x: bool,
        need_kernel: bool,
        tiling: Optional[Tiling],
    ) -> tuple[Tensor, Tensor]:
        if tiling is None or _is_traced(x):
            return _gradients_op(grad, x, kernel, edge_index, need_x, need_kernel)
        if is_batched(grad, x, kernel):
            return _gradients_reference(grad, x, kernel, edge_index)
        return _gradients(grad, x, kernel, tiling, need_x, need_kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs[:4])
        ctx.need_x, ctx.need_kernel, ctx.tiling = inputs[4:]

    @staticmethod
    def backward(ctx: Any, to_x: Tensor, to_kernel: Tensor) -> tuple:
        # The outputs are linear in the gradient, the first in the kernel too and the
        # second in the features.
        grad, x, kernel, edge_index = ctx.saved_tensors
        size, need_x, need_kernel = grad.size(0), ctx.need_x, ctx.need_kernel
        to_grad = None
        if need_x:
            to_grad = _Aggregate.apply(to_x, kernel, edge_index, size, ctx.tiling)
        if need_kernel:
            more = _Aggregate.apply(x, to_kernel, edge_index, size, ctx.tiling)
            to_grad = more if to_grad is None else to_grad + more
        features, edges = _Gradients.apply(
            grad,
            to_x if need_x else x,
            to_kernel if need_kernel else kernel,
            edge_index,
            need_kernel,
            need_x,
            ctx.tiling,
        )
        return (
            to_grad,
            features if need_kernel else None,
            edges if need_x else None,
            *(None,) * 4,
        )
