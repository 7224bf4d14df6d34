"""Lifts through equivariant frames."""

import torch
from torch import Tensor

from lieconv_pyg.groups import SE2, SE3, SIM2, SO3, Lorentz
from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.minkowski import to_rest_frame
from lieconv_pyg.groups.ops import homogeneous, matmul
from lieconv_pyg.groups.rotation import rotation_from_quaternion
from lieconv_pyg.lifting.frames import frames
from lieconv_pyg.lifting.lift import lift, settle_center
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.lifting.momenta import total_momentum
from lieconv_pyg.lifting.ragged import expand_ranges
from lieconv_pyg.lifting.validation import check_points_and_batch

# A rotation that has nothing to do with the axes of a shape (a quaternion).
GENERIC = (0.7132, 0.3391, -0.5417, 0.2849)


def check_has_frames(group: LieGroup) -> None:
    r"""Raises an error unless points have a single lift to the group, or frames."""
    known = SE2, SIM2, SO3, SE3, Lorentz
    if group.stabilizer_dim > 0 and not isinstance(group, known):
        raise ValueError(
            f"there are no equivariant frames for {group!r}: only SE2, SIM2, SO3, "
            f"SE3 and Lorentz have them. Use lift='haar', or one of these where this "
            "is another basis of it"
        )


def lift_frames(
    group: LieGroup,
    pos: Tensor,
    batch: Tensor | None = None,
    *,
    vectors: bool = False,
) -> Lifted:
    r"""Lifts points to a group through the equivariant frames of their
    example, so that a network on the lifts is equivariant exactly, and
    not only on average over random lifts.

    With a frame :math:`F`, read as a group element, a point is lifted to

    .. math::
        u = F \, u_{F^{-1} x}, \quad u_{F^{-1} x} \cdot o = F^{-1} \cdot x.

    A motion :math:`g` takes the set of frames :math:`F` to :math:`g F` and
    so the set of lifts :math:`u` to :math:`g u`. Each frame of an example
    is a component: neighbors are searched within one frame, since lifts in
    different frames may differ by a rotation of exactly :math:`\pi`,
    where the logarithm has two values. Averages over frames are then
    invariant.

    Groups with a trivial stabilizer lift each point in one way, which is
    equivariant already. For :class:`~lieconv_pyg.groups.SO3`, which does not
    translate, frames are taken about the coordinate origin. Those of
    :class:`~lieconv_pyg.groups.Lorentz` are the boosts to the rest frame of an example,
    see :func:`~lieconv_pyg.lifting.jet_frame`, followed by the frames there.
    :class:`~lieconv_pyg.groups.SIM2` have a scale, the root mean square distance from
    the centroid (1 for a single place).

    Args:
        group (LieGroup): The group.
        pos (torch.Tensor): The points :math:`(N, d)`.
        batch (torch.Tensor, optional): The example of each point
            :math:`(N,)`, non-decreasing. (default: one example)
        vectors (bool, optional): Whether outputs are vectors, which want more frames
            of points on a line, see :func:`~lieconv_pyg.lifting.frames`.
            (default: :obj:`False`)

    Returns:
        Lifted: The lifted points, sorted by example, frame and point; one
        component a frame. Their number a point is that of the frames
        of the example.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the points cannot be lifted, or there are no frames
            for this group.
    """
    batch = check_points_and_batch(pos, batch, group)
    check_has_frames(group)
    if group.stabilizer_dim == 0:
        return lift(group, pos, batch)

    dtype = pos.dtype
    if isinstance(group, Lorentz):
        pos = pos.double()
        frame, example = _momentum_frames(group, pos, batch, vectors)
    else:
        pos = settle_center(group, pos, batch)
        frame, example = _frames_of_points(group, pos, batch, vectors)

    labels, counts = torch.unique_consecutive(batch, return_counts=True)
    number = torch.searchsorted(labels, example)
    first = counts.cumsum(0) - counts
    component, point = expand_ranges(first[number], counts[number])
    frame = frame.index_select(0, component)
    local = group.act(group.inverse(frame), pos.index_select(0, point))
    element, orbit = group.section(local)
    element = group.compose(frame, element)
    return Lifted(element, orbit, batch[point], point, component).to(dtype)


def _frames_of_points(
    group: LieGroup, pos: Tensor, batch: Tensor, vectors: bool
) -> tuple[Tensor, Tensor]:
    translates = group.matrix_dim == group.space_dim + 1
    rotation, center, example = frames(pos, batch, centered=translates, vectors=vectors)
    if isinstance(group, SIM2):
        labels, counts = torch.unique_consecutive(batch, return_counts=True)
        number = torch.searchsorted(labels, example)
        rotation = rotation * _sizes(pos, counts)[number].view(-1, 1, 1)
    if translates:
        return homogeneous(rotation, center), example
    # The section of SO(3) is singular opposite to the origin of the
    # orbit: turned away from the axes, on which points often lie.
    turn = rotation_from_quaternion(rotation.new_tensor(GENERIC))
    return matmul(rotation, turn), example


def _momentum_frames(
    group: Lorentz, pos: Tensor, batch: Tensor, vectors: bool
) -> tuple[Tensor, Tensor]:
    total = total_momentum(pos, batch)[batch]
    rest = to_rest_frame(pos, total)[:, 1:]
    rotation, _, example = frames(rest, batch, centered=False, vectors=vectors)
    labels, counts = torch.unique_consecutive(batch, return_counts=True)
    first = counts.cumsum(0) - counts
    boost, _ = group.section(total.index_select(0, first))
    boost = boost.index_select(0, torch.searchsorted(labels, example))
    return group.compose(boost, group.from_rotation(rotation)), example


def _sizes(pos: Tensor, counts: Tensor) -> Tensor:
    r"""The root mean square distance of the points of each example from their
    centroid; 1 for a single place, up to rounding."""
    x = pos.double()
    index = torch.repeat_interleave(counts, output_size=len(pos))
    zeros = x.new_zeros(counts.size(0), x.size(1))
    center = zeros.index_add(0, index, x) / counts.unsqueeze(1)
    square = (x - center[index]).square().sum(1)
    mean = zeros[:, 0].index_add(0, index, square) / counts
    largest = zeros[:, 0].scatter_reduce(0, index, x.detach().abs().amax(1), "amax")
    single = mean <= (16 * torch.finfo(pos.dtype).eps * largest).square()
    return torch.where(single, 1.0, mean).sqrt().to(pos.dtype)
