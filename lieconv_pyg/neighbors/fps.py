"""Farthest point sampling in the group distance."""

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import share
from lieconv_pyg.groups.ops import sum_last
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.neighbors.fps_rounds import Pairs, Rounds
from lieconv_pyg.neighbors.layout import Layout, all_pairs
from lieconv_pyg.neighbors.pairs import pair_coordinates
from lieconv_pyg.neighbors.radius import MAX_PAIRS, check_points

MAX_SUMMED = 1024  # points of a component up to which all its pairs are summed
MAX_KEPT = 128  # points of a component up to which the distances of these are kept


@torch.no_grad()
def farthest_points(
    group: LieGroup,
    lifted: Lifted,
    ratio: float,
    generator: torch.Generator | None = None,
    *,
    max_pairs: int = MAX_PAIRS,
) -> Tensor:
    r"""Farthest point sampling in the group distance, within each component,
    from `"PointNet++: Deep Hierarchical Feature Learning on Point Sets in a Metric
    Space" <https://arxiv.org/abs/1706.02413>`_.

    Each step adds the point that is farthest from those chosen before. The
    first is the one with the largest total distance to its component. (They are found
    many at once, see :class:`~lieconv_pyg.neighbors.fps_rounds.Rounds`: time and
    memory are about linear in the number of points.)
    Equal distances are decided by a number that is made of the pair
    coordinates of a point with its component, and where this is equal too, by
    the coordinates of the points. In components of more than 1,024 points means over
    the component take the place of sums over all pairs, for both. So the choice does
    not depend on the order of the points; and not on a group element that moves them
    all, unless the points have a symmetry, which leaves several choices that nothing
    but their coordinates can tell apart (a regular grid under rotations, say).

    Args:
        group (LieGroup): The group.
        lifted (Lifted): The lifted points.
        ratio (float): The share of points to keep, in :math:`(0, 1]`: of
            :math:`n` points, :math:`\lceil \mathrm{ratio} \cdot n \rceil`.
        generator (torch.Generator, optional): If given, draws the first point of each
            component, uniformly.
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
    value, signature, pairs = _positions(group, lifted, layout, max_pairs)
    rank = _rank(lifted, signature, layout)
    first = _any(sizes, generator) if generator else _first(value, rank, layout)
    rounds = Rounds(group, lifted, layout, rank, max_pairs)
    chosen = rounds.choose(first, wanted, _is_small(sizes), pairs)
    return chosen.nonzero().view(-1)


def _is_small(sizes: Tensor) -> Tensor:
    r"""Whether the pairs of components of these sizes are kept."""
    return sizes <= min(MAX_KEPT, MAX_SUMMED)


def _any(sizes: Tensor, generator: torch.Generator) -> Tensor:
    r"""A random point of each component."""
    drawn = torch.rand(
        len(sizes), dtype=torch.double, generator=generator, device=generator.device
    )
    place = (drawn.to(sizes.device) * sizes).long()
    return sizes.cumsum(0) - sizes + torch.minimum(place, sizes - 1)


def _first(value: Tensor, rank: Tensor, layout: Layout) -> Tensor:
    r"""The point of each component with the largest value; of equal ones, to
    rounding, that of the smallest rank.
    """
    number, last = layout.num_components, rank.numel()
    top = value.new_full((number,), -torch.inf)
    top = top.scatter_reduce(0, layout.dst, value, "amax")
    tolerance = torch.finfo(value.dtype).eps ** 0.75 * top.abs()
    equal = ~(value < (top - tolerance)[layout.dst])
    best = rank.new_full((number,), last)
    best.scatter_reduce_(0, layout.dst, torch.where(equal, rank, last), "amin")
    return (rank == best[layout.dst]).nonzero().view(-1)


def _rank(lifted: Lifted, signature: Tensor, layout: Layout) -> Tensor:
    r"""Ranks the points by signatures (to rounding), orbit label and element."""
    size = signature.new_full((layout.num_components, signature.size(1)), 1e-30)
    index = layout.dst.unsqueeze(1).expand_as(signature)
    size = size.scatter_reduce(0, index, signature.abs(), "amax")
    unit = torch.finfo(signature.dtype).eps ** 0.5 * size[layout.dst]
    coordinates = torch.cat(
        [torch.round(signature / unit), lifted.orbit, lifted.element.flatten(1)], dim=1
    )
    differ = (coordinates != coordinates[0]).any(dim=0)
    index = torch.arange(lifted.num_points, device=coordinates.device)
    order = index
    for column in coordinates[:, differ].flip(1).unbind(dim=1):
        order = order[column[order].argsort(stable=True)]
    return torch.empty_like(order).index_copy_(0, order, index)


def _positions(
    group: LieGroup, lifted: Lifted, layout: Layout, max_pairs: int
) -> tuple[Tensor, Tensor, Pairs]:
    r"""For each point, a distance from its component and generic functions of its
    place therein, :math:`(M, 2)`, neither of which any group element changes; and all
    pairs of small components.
    """
    summed = (layout.ptr.diff() <= MAX_SUMMED)[layout.dst]
    few, many = summed.nonzero().view(-1), (~summed).nonzero().view(-1)
    if many.numel() == 0:
        return _totals(group, lifted, layout, max_pairs)
    value = lifted.element.new_zeros(lifted.num_points)
    signature = value.new_zeros(lifted.num_points, 2)
    part = lifted.select(few)
    few_layout = Layout.build(part.component, part.component)
    value[few], signature[few], (a, b, distance) = _totals(
        group, part, few_layout, max_pairs
    )
    part = lifted.select(many)
    part_layout = Layout.build(part.component, part.component)
    value[many], signature[many] = _moments(group, part, part_layout)
    return value, signature, (few[a], few[b], distance)


def _totals(
    group: LieGroup, lifted: Lifted, layout: Layout, max_pairs: int
) -> tuple[Tensor, Tensor, Pairs]:
    r"""Sums over the component of each point: of distances, and of one generic
    function of the pair coordinates; and the pairs of small components.
    """
    weight = torch.cos(torch.arange(1.0, group.pair_dim + 1) ** 2).to(lifted.element)
    total = lifted.element.new_zeros(lifted.num_points)
    signature = total.new_zeros(lifted.num_points, 2)
    small = _is_small(layout.counts)
    parts = [(layout.dst[:0], layout.dst[:0], total[:0])]
    for pairs in all_pairs(layout, max_pairs):
        attr = pair_coordinates(group, lifted, lifted, pairs)
        distance = group.distance(attr)
        total.index_add_(0, pairs[1], distance)
        generic = torch.cos(sum_last(attr * weight) + 1)
        signature[:, 0].index_add_(0, pairs[1], generic * (1 + distance))
        j, i = pairs
        kept = ((j < i) & small[i]).nonzero().view(-1)
        if kept.numel() > 0:
            parts.append((j[kept], i[kept], distance[kept]))
    j, i, distance = (torch.cat(column) for column in zip(*parts, strict=True))
    return total, signature, (j, i, distance)


def _moments(group: LieGroup, lifted: Lifted, layout: Layout) -> tuple[Tensor, Tensor]:
    r"""What :func:`_totals` returns, for large components from means of
    :math:`D_{ij}` and :math:`D_{ij}^{\top} D_{ij}` over the component of :math:`i`,
    with :math:`D_{ij} = v_j^{-1} u_i - 1`, which need no pairs.

    With :math:`h_i = w^{-1} u_i` and :math:`y_j = v_j^{-1} w - 1`, where :math:`w` is
    any element of the component, :math:`D_{ij} = h_i - 1 + y_j h_i`. These are of the
    size of the component, however far that is from the identity. In place of a
    distance, the root of the mean square of :math:`\alpha \| D_{ij} \|` and
    :math:`(1 - \alpha) \| q_i - q_j \|`: for translations, it is greatest at the point
    that is farthest from the mean.
    """
    element = lifted.element.double()
    centre, one = element[layout.starts], group.identity().to(element)
    h, y = group.relative(element, centre), group.relative(centre, element) - one
    x = h - one
    once = x + _mean(y, layout) @ h
    mixed = x.mT @ (once - x)
    square = h.mT @ _mean(y.mT @ y, layout) @ h
    twice = x.mT @ x + mixed + mixed.mT + square
    diagonal = twice.diagonal(dim1=1, dim2=2)
    noise = 32 * torch.finfo(lifted.element.dtype).eps
    size = _mean(diagonal, layout).clamp(min=0).sqrt()
    size = torch.where(size > noise, size, torch.inf).unsqueeze(1)
    orbit, spread = _orbit_moments(lifted.orbit.double(), layout)
    parts = [once / size, twice / size / size.mT, orbit]
    signature = _generic(parts)
    # The means over points that weigh differently tell more points apart.
    weight = signature[:, :1, None]
    total = _mean(weight, layout) * x + _mean(weight * y, layout) @ h
    signature = _generic([total / size, *parts])
    near = group.alpha**2 * diagonal.sum(dim=1) + (1 - group.alpha) ** 2 * spread
    return near.clamp(min=0).sqrt().to(lifted.element), signature.to(lifted.element)


def _orbit_moments(orbit: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    r"""The orbit labels in units of their deviation in the component,
    :math:`(M, \dim q)`, and the mean square of their differences, :math:`(M,)`.
    """
    offset = orbit - _mean(orbit, layout)
    square = _mean(offset.square(), layout)
    spread = (offset.square() + square).sum(dim=1)
    noise = 32 * torch.finfo(orbit.dtype).eps * _mean(orbit.abs(), layout)
    return torch.where(square.sqrt() > noise, offset / square.sqrt(), 0.0), spread


def _mean(value: Tensor, layout: Layout) -> Tensor:
    r"""The mean of the component of each point, of the shape of :obj:`value`."""
    total = value.new_zeros(layout.num_components, *value.shape[1:])
    sizes = layout.ptr.diff().view(-1, *[1] * (value.dim() - 1))
    return (total.index_add_(0, layout.dst, value) / sizes)[layout.dst]


def _generic(parts: list[Tensor]) -> Tensor:
    r"""Two functions of the coordinates of points that none of their symmetries
    leaves alone, :math:`(M, 2)`.
    """
    x = torch.cat([part.flatten(1) for part in parts], dim=1)
    number = torch.arange(1.0, x.size(1) + 1, dtype=x.dtype, device=x.device)
    weight = torch.stack([torch.cos(k * number**2) for k in (1, 2)], dim=1)
    return torch.cos(2 * x @ weight + 1)
