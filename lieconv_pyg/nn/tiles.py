r"""How the edges of a graph are laid out for batched matrix products.

A tile is a small dense block of the adjacency matrix: some targets that share their
sources. Tiles of similar size are padded to one size and kept together. There are two
layouts, of which :func:`make_tiling` takes the cheaper:

- *components*: a component of lifted points, such as a molecule, is a tile, or a few.
  Pairs that are no edges cost arithmetic, but features are gathered once for all
  targets.
- *targets*: each target is a tile of its own, with its neighbors as sources.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors.layout import Layout

MAX_TARGETS = 64  # of a tile
MIN_DENSITY = 0.5  # share of pairs that are edges, below which targets are the tiles
STEP = 1.25  # sizes that are padded to one another differ by less
MANY = 128  # tiles of one size, of which there is no need for others


class Tiles(NamedTuple):
    r"""Tiles of one size.

    Shapes:
        - **targets:** :math:`(B, I)`, filled up with the number of targets
        - **sources:** :math:`(B, J)`, filled up with any source of the tile
        - **edges:** :math:`(B, J, I)`, the edge of each pair, or the number of edges
          for pairs that are none, which there are unless the tiles are full
        - **first_target**, **first_source:** where the targets, or sources, are
          consecutive numbers, the first of them
    """

    targets: Tensor
    sources: Tensor
    edges: Tensor
    is_full: bool
    first_target: int | None = None
    first_source: int | None = None

    def split(self, number: int) -> Iterator["Tiles"]:
        """The same tiles, at most so many together."""
        if number >= len(self.targets):
            yield self
            return
        parts = self.targets, self.sources, self.edges
        for count, (targets, sources, edges) in enumerate(
            zip(*(part.split(number) for part in parts), strict=True)
        ):
            first = [
                None if start is None else start + count * number * part.size(1)
                for start, part in (
                    (self.first_target, targets),
                    (self.first_source, sources),
                )
            ]
            yield Tiles(targets, sources, edges, self.is_full, *first)


@dataclass(frozen=True)
class Tiling:
    """All edges of a graph in tiles; every target is in one of them."""

    tiles: list[Tiles]
    num_edges: int
    num_dst: int

    def fits(self, edge_index: Tensor, num_dst: int) -> bool:
        """Whether these may be the tiles of a graph."""
        return (self.num_edges, self.num_dst) == (edge_index.size(1), num_dst)


def make_tiling(
    edge_index: Tensor,
    num_dst: int,
    src_component: Tensor | None = None,
    dst_component: Tensor | None = None,
) -> Tiling:
    r"""Lays out the edges of a graph.

    Args:
        edge_index: :math:`(2, E)`, sources first; fastest when sorted by target.
        num_dst: Number of targets.
        src_component: The component of each source, non-decreasing, if known.
        dst_component: The component of each target, non-decreasing, if known.
    """
    num_edges, tiles = edge_index.size(1), None
    if src_component is not None and dst_component is not None and num_edges > 0:
        layout = Layout.build(src_component, dst_component)
        if num_edges >= MIN_DENSITY * int(layout.counts.sum()):
            tiles = _component_tiles(edge_index, layout)
    if tiles is None:
        tiles = list(_target_tiles(edge_index, num_dst)) if num_dst > 0 else []
    return Tiling(tiles, num_edges, num_dst)


def lifted_tiling(edge_index: Tensor, source: Lifted, target: Lifted) -> Tiling | None:
    """The tiling of a graph over lifted points; none while it is traced, since its
    shapes depend on the graph."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    components = source.component, target.component
    return make_tiling(edge_index, target.batch.size(0), *components)


def _classes(size: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Groups sizes that are padded to one another: the largest size of each group and
    where its members are. Sizes that are found often are not padded."""
    values, group, counts = torch.unique(size, return_inverse=True, return_counts=True)
    order = group.argsort(stable=True)
    values, counts = values.tolist(), counts.tolist()
    bounds = [0]
    for number in range(1, len(values)):
        value, least = values[number], values[bounds[-1]]
        often = counts[number - 1] >= MANY or counts[number] >= MANY
        if often or least == 0 or value >= max(STEP * least, least + 2):
            bounds.append(number)
    ends = [0, *accumulate(counts)]
    for first, end in pairwise([*bounds, len(values)]):
        members = order[ends[first] : ends[end]]
        yield values[end - 1], members if end == first + 1 else members.sort().values


def _target_tiles(edge_index: Tensor, num_dst: int) -> Iterator[Tiles]:
    """Each target a tile."""
    source, target = edge_index
    num_edges = target.numel()
    order = None
    if bool((target[1:] < target[:-1]).any()):
        order = target.argsort(stable=True)
    degree = torch.bincount(target, minlength=num_dst)
    if degree.numel() > num_dst:
        raise IndexError(
            f"'edge_index' has the target {degree.numel() - 1}, of {num_dst}"
        )
    start = degree.cumsum(0) - degree
    for width, members in _classes(degree):
        slot = torch.arange(width, device=target.device)
        valid = slot < degree[members].unsqueeze(1)
        edges = start[members].unsqueeze(1) + slot.where(valid, 0)
        edges = edges if order is None else order[edges]
        sources = source[edges]
        edges = edges.where(valid, num_edges).unsqueeze(2)
        is_full = int(degree[members].min()) == width
        yield Tiles(members.unsqueeze(1), sources, edges, is_full)


def _start(numbers: Tensor, number: int) -> int | None:
    """The first of consecutive numbers below another; none if they are not."""
    flat = numbers.view(-1)
    if flat.numel() == 0:
        return None
    first = int(flat[0])
    last = first + flat.numel()
    consecutive = torch.equal(flat, torch.arange(first, last, device=flat.device))
    return first if consecutive and last <= number else None


def _component_tiles(edge_index: Tensor, layout: Layout) -> list[Tiles] | None:
    """Each component a tile, or several of at most :obj:`MAX_TARGETS` targets; none if
    an edge leaves its component or is there twice."""
    source, target = edge_index
    if not torch.equal(layout.src[source], layout.dst[target]):
        return None
    num_edges, num_dst, device = target.numel(), layout.dst.numel(), target.device
    count = torch.bincount(layout.dst, minlength=layout.num_components)
    pieces = (count + MAX_TARGETS - 1) // MAX_TARGETS
    rows = (count + pieces - 1) // pieces.clamp(min=1)  # of each piece
    place = torch.arange(num_dst, device=device) - (count.cumsum(0) - count)[layout.dst]
    piece, row = place // rows[layout.dst], place % rows[layout.dst]
    tile = (pieces.cumsum(0) - pieces)[layout.dst] + piece
    column = torch.arange(layout.src.numel(), device=device) - layout.ptr[layout.src]
    component = torch.arange(layout.num_components, device=device)
    component = component.repeat_interleave(pieces)
    first, width = layout.ptr[component], layout.ptr.diff()[component]
    shapes = (
        (size, height, members[part])
        for size, members in _classes(width)
        for height, part in _classes(rows[component[members]])
    )

    out, found = [], 0
    for size, height, members in shapes:
        at = torch.full_like(component, -1)
        at[members] = torch.arange(members.numel(), device=device)
        mine = (at[tile] >= 0).nonzero().view(-1)
        targets = tile.new_full((members.numel(), height), num_dst)
        targets[at[tile[mine]], row[mine]] = mine
        slot = torch.arange(size, device=device)
        slot = slot.where(slot < width[members].unsqueeze(1), 0)
        edges = tile.new_full((members.numel(), size, height), num_edges)
        chosen = (at[tile[target]] >= 0).nonzero().view(-1)
        to = target[chosen]
        edges[at[tile[to]], column[source[chosen]], row[to]] = chosen
        here = int((edges < num_edges).sum())
        found += here
        sources = first[members].unsqueeze(1) + slot
        is_full = here == edges.numel()
        starts = _start(targets, num_dst), _start(sources, layout.src.numel())
        out.append(Tiles(targets, sources, edges, is_full, *starts))
    return out if found == num_edges else None
