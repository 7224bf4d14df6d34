"""The radius from a share of points."""

import math

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import share
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.neighbors.layout import Layout, all_pairs
from lieconv_pyg.neighbors.pairs import pair_coordinates
from lieconv_pyg.neighbors.radius import MAX_PAIRS, check_points

SEED = 2002_12880


@torch.no_grad()
def calibrate_radius(
    group: LieGroup,
    lifted: Lifted,
    fill: float,
    generator: torch.Generator | None = None,
    max_pairs: int = 2**22,
) -> Tensor:
    r"""Finds the radius for which the mean share of a point's component
    within it

    .. math::
        \frac{1}{M} \sum_i \frac{1}{n_i} |\{ j : d(i, j) < r \}|,

    is :obj:`fill`: a quantile of the group distances in which every point has
    the same weight. The radius lies halfway between two distances of the
    data, so that rounding does not move a pair across it. Of the shares that
    can be had, the nearest to :obj:`fill` is taken.

    Args:
        group (LieGroup): The group.
        lifted (Lifted): Lifted points of typical examples.
        fill (float): The share, in :math:`(0, 1]`.
        generator (torch.Generator, optional): The source of random numbers
            for the choice of points. (default: one with a fixed seed)
        max_pairs (int, optional): With more pairs than this, the mean is
            over randomly chosen points. (default: :obj:`4194304`)

    Returns:
        torch.Tensor: The radius, a tensor without dimensions;
        :obj:`inf` if :obj:`fill` is one, or all distances are zero.

    Raises:
        ValueError: If :obj:`fill` is not in :math:`(0, 1]`, or there are no
            points.
    """
    check_points(group, lifted)
    share(fill, "fill")
    if lifted.num_points == 0:
        raise ValueError("'lifted' is empty. Calibrate the radius with some points")
    infinite = lifted.element.new_tensor(math.inf)
    if fill == 1:
        return infinite

    layout = Layout.build(lifted.component, lifted.component)
    index = _choose(layout.counts, max_pairs, generator)
    layout, target = layout.select_targets(index), lifted.select(index)
    distance = torch.cat(
        [
            group.distance(pair_coordinates(group, lifted, target, pairs))
            for pairs in all_pairs(layout, MAX_PAIRS)
        ]
    )
    counts = layout.counts
    weight = (1 / counts.double()).repeat_interleave(counts) / index.numel()

    distance, order = distance.sort()
    total = weight[order].cumsum(0)
    eps = torch.finfo(distance.dtype).eps
    # Of many distances, no two neighbors are far apart.
    wide = distance.numel() * group.distance_noise * eps < 0.1
    tolerance = (group.distance_noise if wide else 8) * eps
    gap = distance.diff() > tolerance * distance[1:]
    cut = torch.cat([gap, gap.new_ones(1)]).nonzero().view(-1)
    best = cut[(total[cut] - fill).abs().argmin()]
    if best + 1 < distance.numel():
        return (distance[best] + distance[best + 1]) / 2
    largest = distance[best]
    return 1.001 * largest if largest > 0 else infinite


def _choose(
    counts: Tensor, max_pairs: int, generator: torch.Generator | None
) -> Tensor:
    r"""Random points with no more than :obj:`max_pairs` pairs in all (at
    least one point), or all points if they fit; sorted.
    """
    number = counts.numel()
    if int(counts.sum()) <= max_pairs:
        return torch.arange(number, device=counts.device)
    if generator is None:
        generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(number, generator=generator, device=generator.device)
    order = order.to(counts.device)
    fits = counts[order].cumsum(0) <= max_pairs
    fits[0] = True
    return order[fits].sort().values
