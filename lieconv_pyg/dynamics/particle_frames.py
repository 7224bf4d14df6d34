"""Frames that follow the particles smoothly."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.groups.ops import unit_vector
from lieconv_pyg.groups.planar import planar_matrix
from lieconv_pyg.lifting.ragged import expand_ranges
from lieconv_pyg.neighbors.layout import example_pairs


class Frames(NamedTuple):
    r"""Every system once in each of its frames.

    Shapes:
        - **pos:** positions in a frame, :math:`(M, d)`
        - **point:** which particle it is, :math:`(M)`
        - **frame:** which frame it is, :math:`(M)`, non-decreasing
        - **weight:** of each frame, :math:`(F)`; their sum is 1 for each system
        - **example:** the system of each frame, :math:`(F)`
    """

    pos: Tensor
    point: Tensor
    frame: Tensor
    weight: Tensor
    example: Tensor


def particle_frames(pos: Tensor, batch: Tensor, batch_size: int) -> Frames:
    r"""Systems as seen from frames that turn with them, with weights by which the mean
    over frames of any function is invariant to rotations, and as smooth as the function
    up to third derivatives: weighted frames as in `"Equivariant Frames and the
    Impossibility of Continuous Canonicalization" <https://arxiv.org/abs/2402.16077>`_.

    In the plane each particle gives the frame of its direction :math:`r_i` from the
    origin, with a weight proportional to :math:`\| r_i \|^4`: where the direction
    jumps, at the origin, the weight is 0. In space each ordered pair gives the frame of
    :math:`r_i` and :math:`r_i \times r_j`, with a weight that is the share of
    :math:`\| r_i \|^4` among all particles times that of
    :math:`\| r_i \times r_j \|^4` among the pairs of :math:`i`. The mean is continuous
    everywhere, but not smooth where all particles meet, and in space where three or
    more are on one line through the origin.

    Args:
        pos: Positions :math:`(N, d)` from the point that is to be turned about.
        batch: The system of each particle :math:`(N)`, non-decreasing.
        batch_size: Number of systems.

    Raises:
        ValueError: In other dimensions than 2 and 3.
    """
    largest = scatter(pos.detach().abs().amax(1), batch, 0, batch_size, "max")
    near = pos / torch.where(largest > 0, largest, 1.0)[batch, None]
    if pos.size(1) == 2:
        direction, _ = unit_vector(near)
        rotation = planar_matrix(direction[:, 0], direction[:, 1])
        weight = _shares(near.square().sum(1).square(), batch, batch_size)
        example = batch
    elif pos.size(1) == 3:
        pairs = example_pairs(batch, self_pairs=True)
        i, j = pairs if pos.size(0) == batch_size else example_pairs(batch)
        first, _ = unit_vector(near[i])
        normal, example = torch.linalg.cross(near[i], near[j]), batch[i]
        size = normal.square().sum(1)
        # The direction of the normal is rounding where it is much shorter than both.
        longest = (near[i].square().sum(1) * near[j].square().sum(1)).detach()
        noise = torch.finfo(pos.dtype).eps ** 1.5 * longest
        flat = (size <= noise).unsqueeze(1)
        normal = torch.where(flat, _across(first), normal)
        size = normal.square().sum(1) * ~flat.squeeze(1)
        # Those of a particle, and then those of its pairs: continuous on a line too.
        of_first = _shares(near.square().sum(1).square(), batch, batch_size)
        weight = of_first[i] * _shares(size.square(), i, pos.size(0))
        third = unit_vector(normal)[0]
        second = torch.linalg.cross(third, first)
        rotation = torch.stack([first, second, third], dim=2)
    else:
        raise ValueError(
            f"there are frames of particles in 2 and 3 dimensions only (got "
            f"{pos.size(1)})"
        )
    order = example.argsort(stable=True)
    rotation, weight, example = rotation[order], weight[order], example[order]
    count = torch.bincount(batch, minlength=batch_size)
    first_of = count.cumsum(0) - count
    frame, point = expand_ranges(first_of[example], count[example])
    turned = (rotation[frame] * pos[point].unsqueeze(2)).sum(1)
    return Frames(turned, point, frame, weight, example)


def _across(direction: Tensor) -> Tensor:
    """Any vectors across these, which turn with them."""
    least = direction.detach().abs().argmin(1)
    axis = torch.nn.functional.one_hot(least, 3).to(direction.dtype)
    return torch.linalg.cross(direction, axis)


def _shares(weight: Tensor, example: Tensor, batch_size: int) -> Tensor:
    """Weights whose sum is 1 for each example: equal ones where all are 0."""
    total = scatter(weight, example, 0, batch_size, "sum")
    empty = (total == 0)[example]
    count = torch.bincount(example, minlength=batch_size).to(weight.dtype)
    total = torch.where(total == 0, 1.0, total)
    return torch.where(empty, 1 / count[example], weight / total[example])
