"""Farthest point sampling in the group distance."""

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import share
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.neighbors.layout import Layout, all_pairs
from lieconv_pyg.neighbors.pairs import pair_coordinates
from lieconv_pyg.neighbors.radius import MAX_PAIRS, check_points


@torch.no_grad()
def farthest_points(
    group: LieGroup, lifted: Lifted, ratio: float, *, max_pairs: int = MAX_PAIRS
) -> Tensor:
    r"""Farthest point sampling in the group distance, within each component,
    from `"PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric
    Space" <https://arxiv.org/abs/1706.02413>`_.

    Each step adds the point that is farthest from those chosen before. The
    first is the one with the largest total distance to its component.
    Equal distances are decided by a number that is made of the pair
    coordinates of a point with its component, and where this is equal too, by
    the coordinates of the points. So the choice does not depend on the
    order of the points; and not on a group element that moves them all, unless
    the points have a symmetry, which leaves several choices that nothing but
    their coordinates can tell apart (a regular grid under rotations, say).

    Args:
        group (LieGroup): The group.
        lifted (Lifted): The lifted points.
        ratio (float): The share of points to keep, in :math:`(0, 1]`: of
            :math:`n` points, :math:`\lceil \mathrm{ratio} \cdot n \rceil`.
        max_pairs (int, optional): The number of pairs that are worked on
            together. (default: :obj:`262144`)

    Returns:
        torch.Tensor: The kept lifted points, sorted indices.

    Raises:
        ValueError: If :obj:`ratio` is not in :math:`(0, 1]`.
    """
    check_points(group, lifted)
    share(ratio, "ratio")
    index = torch.arange(lifted.num_points, device=lifted.batch.device)
    if ratio == 1 or index.numel() == 0:
        return index

    layout = Layout.build(lifted.component, lifted.component)
    sizes = layout.ptr.diff()
    # The product is rounded up, but not for a rounding error above an integer.
    wanted = torch.ceil(sizes.double() * ratio - 1e-9).long().clamp(min=1)
    value, signature = _totals(group, lifted, layout, max_pairs)
    rank = _rank(lifted, signature, layout)
    by_rank = rank.argsort()
    chosen = torch.zeros_like(index, dtype=torch.bool)
    new = by_rank[_farthest(value, rank, chosen, layout)]
    chosen[new] = True
    nearest = torch.full_like(value, torch.inf)
    for step in range(1, int(wanted.max())):
        distance = _paired_distance(group, lifted, new[layout.dst], max_pairs)
        nearest = torch.minimum(nearest, distance)
        new = by_rank[_farthest(nearest, rank, chosen, layout)]
        chosen[new[step < wanted]] = True
    return chosen.nonzero().view(-1)


def _farthest(value: Tensor, rank: Tensor, chosen: Tensor, layout: Layout) -> Tensor:
    r"""The rank of the point of each component with the largest value; of
    equal ones, to rounding, that of the smallest rank.
    """
    number = layout.num_components
    value = torch.where(chosen, -1.0, value)
    top = value.new_full((number,), -torch.inf)
    top = top.scatter_reduce(0, layout.dst, value, "amax")
    tolerance = torch.finfo(value.dtype).eps ** 0.75 * top.abs()
    equal = (value >= (top - tolerance)[layout.dst]) & ~chosen
    last = rank.numel()
    best = rank.new_full((number,), last - 1)
    rank = torch.where(equal, rank, last)
    return best.scatter_reduce(0, layout.dst, rank, "amin", include_self=True)


def _rank(lifted: Lifted, signature: Tensor, layout: Layout) -> Tensor:
    r"""Ranks the points by signature (to rounding), orbit label and element."""
    size = signature.new_full((layout.num_components,), 1e-30)
    size = size.scatter_reduce(0, layout.dst, signature.abs(), "amax")
    unit = torch.finfo(signature.dtype).eps ** 0.5 * size[layout.dst]
    first = torch.round(signature / unit).unsqueeze(1)
    coordinates = torch.cat([first, lifted.orbit, lifted.element.flatten(1)], dim=1)
    order = torch.arange(lifted.num_points, device=coordinates.device)
    for column in coordinates.flip(1).unbind(dim=1):
        order = order[column[order].argsort(stable=True)]
    return order.argsort()


def _totals(
    group: LieGroup, lifted: Lifted, layout: Layout, max_pairs: int
) -> tuple[Tensor, Tensor]:
    r"""Sums over the component of each point: of distances, and of one generic
    function of the pair coordinates. No group element changes either.
    """
    weight = torch.cos(torch.arange(1.0, group.pair_dim + 1) ** 2).to(lifted.element)
    total = lifted.element.new_zeros(lifted.num_points)
    signature = torch.zeros_like(total)
    for pairs in all_pairs(layout, max_pairs):
        attr = pair_coordinates(group, lifted, lifted, pairs)
        distance = group.distance(attr)
        total.index_add_(0, pairs[1], distance)
        generic = torch.cos((attr * weight).sum(dim=1) + 1)
        signature.index_add_(0, pairs[1], generic * (1 + distance))
    return total, signature


def _paired_distance(
    group: LieGroup, lifted: Lifted, other: Tensor, max_pairs: int
) -> Tensor:
    r"""The distance of each point to another one, :math:`(M,)`."""
    index = torch.arange(lifted.num_points, device=other.device)
    pairs = torch.stack([other, index])
    return torch.cat(
        [
            group.distance(pair_coordinates(group, lifted, lifted, part))
            for part in pairs.split(max_pairs, dim=1)
        ]
    )
