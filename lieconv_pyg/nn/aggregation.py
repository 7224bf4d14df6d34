r"""The aggregation of LieConv, the contraction that its cost lies in.

For every target :math:`i` it forms

.. math::
    A_{icm} = \sum_{e:\, \mathrm{index}_e = i} f_{ec} \, s_{em}

from the features :math:`f` that the sources send along the edges and the kernel
values :math:`s` of the edges: the PointConv factorisation (Wu et al., 2019) that
LieConv uses (Finzi et al., 2020, Appendix A.1), which needs no matrix per edge.

:func:`aggregate_reference` says in one line what is computed.
:func:`aggregate` computes it as batched matrix products over padded groups of
targets of similar degree: never edges × channels × kernel channels in memory, and at
most twice the edges in padding.

The sum over all edges of :math:`G_{icm} f_{ec} s_{em}` is linear in each of its
three arguments, so its three partial derivatives, :func:`aggregate`,
:func:`_to_features` and :func:`_to_kernel`, have one another as derivatives: they
may be differentiated any number of times.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

# Padded entries that one batched product may hold: bounds the working memory.
_CHUNK = 1 << 24


def aggregate_reference(x: Tensor, kernel: Tensor, index: Tensor, size: int) -> Tensor:
    r"""The definition, with an outer product an edge; for tests and for reading.

    Args:
        x: :math:`(E, C)` features at the source of each edge.
        kernel: :math:`(E, M)` kernel values of each edge.
        index: :math:`(E)` target of each edge.
        size: number of targets :math:`N`.

    Returns:
        :math:`(N, C, M)`.
    """
    outer = x.unsqueeze(2) * kernel.unsqueeze(1)
    return outer.new_zeros(size, *outer.shape[1:]).index_add(0, index, outer)


def aggregate(x: Tensor, kernel: Tensor, index: Tensor, size: int) -> Tensor:
    r"""The sums :math:`A_{icm}` above, without an outer product an edge.

    Args:
        x: :math:`(E, C)` features at the source of each edge.
        kernel: :math:`(E, M)` kernel values of each edge.
        index: :math:`(E)` target of each edge; fastest when sorted.
        size: number of targets :math:`N`.

    Returns:
        :math:`(N, C, M)`; zero for targets without edges. Differentiable any number
        of times in :obj:`x` and :obj:`kernel`.
    """
    dtype = torch.promote_types(x.dtype, kernel.dtype)
    if dtype != torch.float64 and torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    x, kernel = x.to(dtype), kernel.to(dtype)
    return _Aggregate.apply(x, kernel, index, size)


def _blocks(index: Tensor, size: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Groups targets whose degrees differ at most twofold, in chunks.

    Yields:
        the targets :math:`(B)` of a chunk, and the edges of each :math:`(B, K)`,
        filled up with :obj:`E`, which is no edge.
    """
    num_edges = index.numel()
    order = None
    if bool((index[1:] < index[:-1]).any()):
        order = index.argsort(stable=True)
    degree = torch.bincount(index, minlength=size)
    start = degree.cumsum(0) - degree
    largest = int(degree.max())
    upper = largest
    while upper > 0:
        lower = upper // 2 if upper > 8 else 0
        chosen = ((degree > lower) & (degree <= upper)).nonzero().view(-1)
        slot = torch.arange(upper, device=index.device)
        for targets in chosen.split(max(1, _CHUNK // (upper * width))):
            edges = start[targets].unsqueeze(1) + slot
            valid = slot < degree[targets].unsqueeze(1)
            if order is not None:
                edges = order[edges.clamp(max=num_edges - 1)]
            yield targets, edges.where(valid, num_edges)
        upper = lower


def _take(rows: Tensor, edges: Tensor) -> Tensor:
    """Rows :math:`(E, W)` at the padded edges :math:`(B, K)`, any where filled up."""
    index = edges.view(-1).clamp(max=rows.size(0) - 1)
    return rows.index_select(0, index).view(*edges.shape, rows.size(1))


def _put(out: Tensor, edges: Tensor, rows: Tensor) -> None:
    """Writes the rows :math:`(B, K, W)` of the padded edges into :math:`(E + 1, W)`,
    whose last row takes what belongs to none."""
    out.index_copy_(0, edges.view(-1), rows.reshape(-1, rows.size(-1)))


@torch.library.custom_op("lieconv_pyg::aggregate", mutates_args=())
def _aggregate(x: Tensor, kernel: Tensor, index: Tensor, size: int) -> Tensor:
    num_edges, channels = x.shape
    out = x.new_zeros(size, channels, kernel.size(1))
    if num_edges > 0:
        for targets, edges in _blocks(index, size, channels):
            filled_up = (edges == num_edges).unsqueeze(2)
            values = _take(kernel, edges).masked_fill_(filled_up, 0)
            out.index_copy_(0, targets, _take(x, edges).transpose(1, 2) @ values)
    return out


@torch.library.custom_op("lieconv_pyg::aggregate_to_features", mutates_args=())
def _to_features(grad: Tensor, kernel: Tensor, index: Tensor) -> Tensor:
    r"""Derivative in the features: :math:`\sum_m G_{icm} s_{em}`, :math:`(E, C)`."""
    num_edges, channels = index.numel(), grad.size(1)
    out = grad.new_empty(num_edges + 1, channels)
    if num_edges > 0:
        for targets, edges in _blocks(index, grad.size(0), channels):
            values = grad.index_select(0, targets).transpose(1, 2)
            _put(out, edges, _take(kernel, edges) @ values)
    return out[:num_edges]


@torch.library.custom_op("lieconv_pyg::aggregate_to_kernel", mutates_args=())
def _to_kernel(grad: Tensor, x: Tensor, index: Tensor) -> Tensor:
    r"""Derivative in the kernel: :math:`\sum_c G_{icm} f_{ec}`, :math:`(E, M)`."""
    num_edges, channels = x.shape
    out = grad.new_empty(num_edges + 1, grad.size(2))
    if num_edges > 0:
        for targets, edges in _blocks(index, grad.size(0), channels):
            _put(out, edges, _take(x, edges) @ grad.index_select(0, targets))
    return out[:num_edges]


@_aggregate.register_fake
def _(x: Tensor, kernel: Tensor, index: Tensor, size: int) -> Tensor:
    return x.new_empty(size, x.size(1), kernel.size(1))


@_to_features.register_fake
def _(grad: Tensor, kernel: Tensor, index: Tensor) -> Tensor:
    return grad.new_empty(index.size(0), grad.size(1))


@_to_kernel.register_fake
def _(grad: Tensor, x: Tensor, index: Tensor) -> Tensor:
    return grad.new_empty(index.size(0), grad.size(2))


class _Contraction(torch.autograd.Function):
    """One of the three; the operators below know no derivative of their own, since
    those of :meth:`torch.library.custom_op` do not work under :mod:`torch.func`."""

    @classmethod
    def vmap(cls, info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        rows = [
            cls.apply(
                *(
                    arg if dim is None else arg.select(dim, row)
                    for arg, dim in zip(args, in_dims, strict=True)
                )
            )
            for row in range(info.batch_size)
        ]
        return torch.stack(rows), 0


class _Aggregate(_Contraction):
    @staticmethod
    def forward(x: Tensor, kernel: Tensor, index: Tensor, size: int) -> Tensor:
        return _aggregate(x, kernel, index, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, kernel, index = ctx.saved_tensors
        need_x, need_kernel = ctx.needs_input_grad[:2]
        grad_x = _ToFeatures.apply(grad, kernel, index) if need_x else None
        grad_kernel = _ToKernel.apply(grad, x, index) if need_kernel else None
        return grad_x, grad_kernel, None, None


class _ToFeatures(_Contraction):
    @staticmethod
    def forward(grad: Tensor, kernel: Tensor, index: Tensor) -> Tensor:
        return _to_features(grad, kernel, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_x: Tensor) -> tuple:
        grad, kernel, index = ctx.saved_tensors
        grad_grad = _Aggregate.apply(grad_x, kernel, index, grad.size(0))
        return grad_grad, _ToKernel.apply(grad, grad_x, index), None


class _ToKernel(_Contraction):
    @staticmethod
    def forward(grad: Tensor, x: Tensor, index: Tensor) -> Tensor:
        return _to_kernel(grad, x, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_kernel: Tensor) -> tuple:
        grad, x, index = ctx.saved_tensors
        grad_grad = _Aggregate.apply(x, grad_kernel, index, grad.size(0))
        return grad_grad, _ToFeatures.apply(grad, grad_kernel, index), None
