"""Euclidean radius search in plain PyTorch."""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from lieconv_pyg.lifting.ragged import expand_ranges
from lieconv_pyg.neighbors.layout import Layout, all_pairs, chunk_bounds

MAX_CELLS = 1024  # per axis: keeps the keys of cells far inside int64
DENSE_PAIRS = 2**22  # up to here, all pairs are faster than cells


def cell_candidates(
    layout: Layout, x: Tensor, y: Tensor, radius: float, max_pairs: int
) -> Iterator[Tensor]:
    r"""Euclidean radius search in plain PyTorch: pairs within a component
    with :math:`\|x_j - y_i\| \leq r`.

    Points are binned into cells not smaller than the radius along at most
    three axes, so that all neighbors lie in the adjacent cells. Few points, or
    a radius as large as the cloud, make this a dense search.

    Args:
        layout (Layout): The components of sources and targets.
        x (torch.Tensor): The sources :math:`(M_s, k)`.
        y (torch.Tensor): The targets :math:`(M_t, k)`.
        radius (float): The radius :math:`r`.
        max_pairs (int): The number of pairs that are looked at together.

    Yields:
        Chunks :math:`(2, P)` of sources and targets, in the order of the
        targets.
    """
    for index in _close_pairs(layout, x, y, radius, max_pairs):
        offset = x.index_select(0, index[0]) - y.index_select(0, index[1])
        yield index[:, offset.square().sum(dim=-1) <= radius * radius]


def _close_pairs(
    layout: Layout, x: Tensor, y: Tensor, radius: float, max_pairs: int
) -> Iterator[Tensor]:
    if int(layout.counts.sum()) <= DENSE_PAIRS:
        yield from all_pairs(layout, max_pairs)
        return

    cell_x, cell_y, sizes = _bin(x, y, radius)
    if not sizes:
        yield from all_pairs(layout, max_pairs)
        return

    key, order = _keys(layout.src, cell_x, sizes).sort(stable=True)
    start, count = _ranges(layout.dst, cell_y, sizes, key)
    for lo, hi in chunk_bounds(count.sum(dim=1), max_pairs):
        owner, member = expand_ranges(
            start[lo:hi].reshape(-1), count[lo:hi].reshape(-1)
        )
        target = owner.div(start.size(1), rounding_mode="floor") + lo
        yield torch.stack([order[member], target])


def _bin(x: Tensor, y: Tensor, radius: float) -> tuple[Tensor, Tensor, list[int]]:
    r"""The cells of sources and targets along the axes that hold most cells,
    and the numbers of cells; in double precision, so that points no
    farther apart than the radius are never two cells apart.
    """
    x, y = x.double(), y.double()
    low = torch.minimum(x.amin(dim=0), y.amin(dim=0))
    extent = torch.maximum(x.amax(dim=0), y.amax(dim=0)) - low
    width = torch.clamp(extent / MAX_CELLS, min=radius * (1 + 1e-9))
    number = torch.clamp((extent / width).long() + 1, max=MAX_CELLS)
    axes = number.argsort(descending=True)[:3]
    axes = axes[number[axes] > 1]
    limit = number[axes] - 1
    cells = [
        torch.minimum(((z[:, axes] - low[axes]) / width[axes]).long(), limit)
        for z in (x, y)
    ]
    return cells[0], cells[1], number[axes].tolist()


def _keys(component: Tensor, cell: Tensor, sizes: list[int]) -> Tensor:
    key = component
    for axis, size in enumerate(sizes):
        key = key * size + cell[:, axis]
    return key


def _ranges(
    component: Tensor, cell: Tensor, sizes: list[int], key: Tensor
) -> tuple[Tensor, Tensor]:
    r"""For each target, the ranges of sorted sources in the adjacent cells:
    one range for each adjacent row of cells along the last axis.
    """
    last = sizes[-1] - 1
    limit = torch.tensor(sizes[:-1], device=cell.device)
    starts, counts = [], []
    for step in product((-1, 0, 1), repeat=len(sizes) - 1):
        row = cell[:, :-1] + torch.tensor(step, device=cell.device, dtype=cell.dtype)
        inside = ((row >= 0) & (row < limit)).all(dim=1)
        row_key = _keys(component, row, sizes[:-1]) * sizes[-1]
        first = row_key + (cell[:, -1] - 1).clamp(min=0)
        final = row_key + (cell[:, -1] + 1).clamp(max=last)
        start = torch.searchsorted(key, first)
        count = torch.searchsorted(key, final, right=True) - start
        starts.append(start)
        counts.append(torch.where(inside, count, 0))
    return torch.stack(starts, dim=1), torch.stack(counts, dim=1)
