"""Nearest neighbors in the group distance."""

import math

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.neighbors.layout import Layout, all_pairs
from lieconv_pyg.neighbors.pairs import Neighborhood, pair_coordinates
from lieconv_pyg.neighbors.radius import MAX_PAIRS, check_points, edges_within, finish

SAMPLE = 64  # targets that the first radius is taken from
ROUNDS = 8  # doublings of the radius before all pairs are looked at


def knn_graph(
    group: LieGroup,
    lifted: Lifted,
    k: int,
    lifted_dst: Lifted | None = None,
    *,
    backend: str | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Neighborhood:
    r"""Joins every lifted point with the :math:`k` nearest in the group
    distance within its component, itself among them.

    The neighbors are exact: a ball that holds at least :math:`k` points holds
    the :math:`k` nearest, so balls are doubled until they do. Points at
    the same distance as the :math:`k`-th are all neighbors, since a
    choice among them would depend on the order of the points. A component with
    fewer than :math:`k` points is joined completely.

    Args:
        group (LieGroup): The group.
        lifted (Lifted): The lifted points: the sources, and the targets too
            when :obj:`lifted_dst` is not given.
        k (int): The number of neighbors.
        lifted_dst (Lifted, optional): The targets. (default: :obj:`lifted`)
        backend (str, optional): The Euclidean search: one of
            :func:`~lieconv_pyg.neighbors.available_backends`.
            (default: the first available)
        max_pairs (int, optional): The number of pairs that are worked on
            together. (default: :obj:`262144`)

    Returns:
        Neighborhood: The edges, sorted by target and then by source.

    Raises:
        TypeError: If :obj:`k` is not an integer.
        ValueError: If :obj:`k` is less than one, or the backend is unknown.
        ImportError: If the backend is not installed.
    """
    check_points(group, lifted, lifted_dst)
    positive(k, "k")
    dst = lifted if lifted_dst is None else lifted_dst
    with torch.no_grad():
        parts = _nearest(group, lifted, dst, k, backend, max_pairs)
    return finish(group, lifted, dst, parts, math.inf, None)


def _nearest(
    group: LieGroup,
    src: Lifted,
    dst: Lifted,
    k: int,
    backend: str | None,
    max_pairs: int,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    layout = Layout.build(src.component, dst.component)
    needed, eps = layout.counts.clamp(max=k), torch.finfo(src.element.dtype).eps
    radius = _first_radius(group, src, dst, k, layout)
    todo = torch.arange(dst.num_points, device=dst.batch.device)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(ROUNDS + 1):
        if number == ROUNDS:
            radius = math.inf
        target = dst.select(todo)
        finished = needed[todo] == 0
        for index, attr, distance in edges_within(
            group, src, target, radius, backend, max_pairs
        ):
            counts = torch.bincount(index[1], minlength=todo.size(0))
            # Equal to rounding is equal.
            last = _kth_smallest(distance, counts, k) * (1 + 1e3 * eps)
            done = (counts >= needed[todo]) & (last < radius)
            finished |= done
            keep = done[index[1]] & (distance <= last[index[1]])
            index = torch.stack([index[0, keep], todo[index[1, keep]]])
            parts.append((index, attr[keep], distance[keep]))
        todo = todo[~finished]
        if todo.numel() == 0:
            break
        radius = 2 * radius
    return _sorted(parts)


def _kth_smallest(distance: Tensor, counts: Tensor, k: int) -> Tensor:
    r"""The :math:`k`-th smallest distance of each target, or its largest where
    there are fewer; edges are sorted by target.
    """
    order = distance.argsort()
    target = torch.repeat_interleave(counts)
    order = order[target[order].argsort(stable=True)]
    last = counts.cumsum(0) - counts + counts.clamp(max=k) - 1
    out = distance.new_full((counts.size(0),), -math.inf)
    filled = counts > 0
    out[filled] = distance[order[last[filled]]]
    return out


def _first_radius(
    group: LieGroup, src: Lifted, dst: Lifted, k: int, layout: Layout
) -> float:
    r"""A radius that holds :math:`k` points about a few of the targets that have
    that many.
    """
    index = (layout.counts >= k).nonzero().view(-1)
    if index.numel() == 0:
        return math.inf
    step = max(1, index.numel() // SAMPLE)
    part = layout.select_targets(index[::step])
    target = dst.select(index[::step])
    distance = torch.cat(
        [
            group.distance(pair_coordinates(group, src, target, pairs))
            for pairs in all_pairs(part, MAX_PAIRS)
        ]
    )
    radius = float(_kth_smallest(distance, part.counts, k).median())
    if radius == 0:  # coincident points: any radius that is not too large
        positive = distance[distance > 0]
        return float(positive.min()) if positive.numel() > 0 else math.inf
    return 1.25 * radius


def _sorted(
    parts: list[tuple[Tensor, Tensor, Tensor]],
) -> list[tuple[Tensor, Tensor, Tensor]]:
    if len(parts) < 2:
        return parts
    index = torch.cat([part[0] for part in parts], dim=1)
    order = index[1].argsort(stable=True)
    attr = torch.cat([part[1] for part in parts])
    distance = torch.cat([part[2] for part in parts])
    return [(index[:, order], attr[order], distance[order])]
