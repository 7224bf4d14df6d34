"""Equivariant frames of point clouds."""

from typing import NamedTuple

import torch
from torch import Tensor

from lieconv_pyg.lifting.symmetric_frames import symmetric_frames
from lieconv_pyg.lifting.validation import check_points_and_batch

# Principal moments that are closer than this, relative to the largest, do not
# fix the axes. It is far above rounding: eigenvectors lose digits as
# the gap closes, the frames of a symmetric shape do not.
MOMENT_GAP = 1e-3


class Frames(NamedTuple):
    r"""Frames of the examples of a batch, sorted by example.

    Shapes:
        - **rotation:** axes as columns, :math:`(F, d, d)`, determinant one
        - **center:** :math:`(F, d)`
        - **batch:** the example of each frame, :math:`(F,)`
    """

    rotation: Tensor
    center: Tensor
    batch: Tensor


def frames(
    pos: Tensor,
    batch: Tensor | None = None,
    *,
    centered: bool = True,
    vectors: bool = False,
) -> Frames:
    r"""Computes equivariant frames of point clouds in the plane or in space,
    after `"Frame Averaging for Invariant and Equivariant Network Design"
    <https://arxiv.org/abs/2110.03336>`_ (Section 3.1).

    The frames are the principal axes of the centered points, with all
    choices of signs that give a rotation: two in the plane, four in space.
    When a rigid motion acts on the points, it acts on the set of their
    frames: :math:`\mathcal{F}(g \cdot X) = g \mathcal{F}(X)`.

    Shapes with (nearly) equal principal moments have no unique axes. Their
    frames come from their points instead: in space from every ordered pair of
    points that spans the largest area with the center (methane has 12 frames,
    benzene 24), in the plane from every point farthest from it. Points on a
    line have two frames, with an arbitrary roll about the line that changes
    no difference of points; a single place has one.

    All arithmetic is in double precision. Frames are differentiable.

    Args:
        pos (torch.Tensor): The points :math:`(N, d)`, :math:`d \in \{2, 3\}`.
        batch (torch.Tensor, optional): The example of each point
            :math:`(N,)`, non-decreasing. (default: one example)
        centered (bool, optional): If set to :obj:`False`, will take the axes
            about the coordinate origin rather than the centroid, for groups
            that do not translate. (default: :obj:`True`)
        vectors (bool, optional): If set to :obj:`True`, the mean over frames of
            vectors with the same components in every frame is right too: points
            on a line have four frames, the two and their half turns about the
            line, and a single place has four in space and two in the plane.
            (default: :obj:`False`)

    Returns:
        Frames: Rotations, centers and examples of the frames.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the points are not two- or three-dimensional, or an
            example is so symmetric that it has too many frames.
    """
    batch = check_points_and_batch(pos, batch)
    dim = pos.size(1)
    if dim not in (2, 3):
        raise ValueError(
            f"'pos' must have 2 or 3 coordinates a point for frames, got {dim}. "
            f"Use random or fixed lifts"
        )
    labels, index, counts = torch.unique_consecutive(
        batch, return_inverse=True, return_counts=True
    )
    x, center = _center(pos.double(), index, counts, centered)
    moment = x.new_zeros(labels.size(0), dim, dim)
    moment = moment.index_add(0, index, x.unsqueeze(2) * x.unsqueeze(1))
    noise = _noise(pos.detach(), index, counts)
    equal = _has_no_axes(moment.detach(), counts * (16 * noise).square())

    # The safe argument keeps the gradient of degenerate examples finite.
    safe = torch.diag(torch.arange(1.0, dim + 1, dtype=x.dtype, device=x.device))
    axes = torch.linalg.eigh(torch.where(equal.view(-1, 1, 1), safe, moment))[1]
    rotations = _sign_choices(axes.flip(-1))

    num_choices = rotations.size(1)
    example = torch.arange(labels.size(0), device=pos.device)
    parts = [rotations[~equal].flatten(0, 1)]
    owners = [example[~equal].repeat_interleave(num_choices)]
    for number, points in _examples(x, counts, equal):
        found = symmetric_frames(points, float(noise[number]), pos.dtype, vectors)
        parts.append(found)
        owners.append(example.new_full((parts[-1].size(0),), number))
    owner, order = torch.cat(owners).sort(stable=True)
    rotation = torch.cat(parts).index_select(0, order)
    return Frames(
        rotation.to(pos.dtype),
        center.index_select(0, owner).to(pos.dtype),
        labels.index_select(0, owner),
    )


def _center(
    x: Tensor, index: Tensor, counts: Tensor, centered: bool
) -> tuple[Tensor, Tensor]:
    center = x.new_zeros(counts.size(0), x.size(1))
    if not centered:
        return x, center
    center = center.index_add(0, index, x) / counts.unsqueeze(1)
    return x - center.index_select(0, index), center


def _noise(pos: Tensor, index: Tensor, counts: Tensor) -> Tensor:
    r"""The rounding error of the coordinates of each example."""
    largest = pos.double().abs().amax(dim=1)
    size = largest.new_zeros(counts.size(0)).scatter_reduce(0, index, largest, "amax")
    return torch.finfo(pos.dtype).eps * size


def _has_no_axes(moment: Tensor, floor: Tensor) -> Tensor:
    r"""Which examples have (nearly) equal principal moments, or none above the
    floor.
    """
    value = torch.linalg.eigvalsh(moment)
    equal = value.diff(dim=1).amin(dim=1) <= MOMENT_GAP * value[:, -1]
    return equal | (value[:, -1] <= floor)


def _sign_choices(axes: Tensor) -> Tensor:
    r"""All rotations whose columns are the given axes :math:`(B, d, d)` up to
    sign, :math:`(B, 2^{d-1}, d, d)`.
    """
    e1 = axes[..., 0]
    if axes.size(-1) == 2:
        first = torch.stack([e1, -e1], dim=1)
        second = torch.stack([-first[..., 1], first[..., 0]], dim=-1)
        return torch.stack([first, second], dim=-1)
    e2 = axes[..., 1]
    first = torch.stack([e1, e1, -e1, -e1], dim=1)
    second = torch.stack([e2, -e2, e2, -e2], dim=1)
    third = torch.linalg.cross(first, second, dim=-1)
    return torch.stack([first, second, third], dim=-1)


def _examples(x: Tensor, counts: Tensor, mask: Tensor) -> list[tuple[int, Tensor]]:
    r"""Number and points of the examples in the mask."""
    numbers = mask.nonzero().view(-1).tolist()
    if not numbers:
        return []
    ends = counts.cumsum(0).tolist()
    sizes = counts.tolist()
    return [(n, x[ends[n] - sizes[n] : ends[n]]) for n in numbers]
