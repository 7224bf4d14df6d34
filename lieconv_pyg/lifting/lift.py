"""Random and fixed lifts."""

import torch
from torch import Tensor

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.lifting.lifted import Lifted
from lieconv_pyg.lifting.validation import check_points_and_batch


def lift(
    group: LieGroup,
    pos: Tensor,
    batch: Tensor | None = None,
    num_lifts: int = 1,
    *,
    fixed: bool = False,
    generator: torch.Generator | None = None,
) -> Lifted:
    r"""Lifts points to a group, from Section 4.1 of `"Generalizing
    Convolutional Neural Networks for Equivariance to Lie Groups on Arbitrary
    Continuous Data" <https://arxiv.org/abs/2002.12880>`_.

    A point :math:`x` in the orbit of the origin :math:`o_q` is sent to
    :math:`K` pairs

    .. math::
        (u_x s_k, q), \quad u_x \cdot o_q = x, \quad
        s_1, \dots, s_K \in \mathrm{Stab}(o_q),

    with :math:`s_k` drawn from the Haar measure of the stabilizer (where that is not
    compact, see :class:`~lieconv_pyg.groups.SIM2`, from a window of it), anew for
    each point, or (:obj:`fixed=True`) the same well-spread :math:`K` elements
    for every point. The fixed lifts of a point depend on this point alone.
    Groups with a trivial stabilizer lift a point in one way only: there, the
    :math:`K` lifts are copies.

    Args:
        group (LieGroup): The group.
        pos (torch.Tensor): The points :math:`(N, d)`, in the user's units.
        batch (torch.Tensor, optional): The example of each point
            :math:`(N,)`, non-decreasing. (default: one example)
        num_lifts (int, optional): The number :math:`K` of lifts a point.
            (default: :obj:`1`)
        fixed (bool, optional): If set to :obj:`True`, will use the same
            stabilizer elements for every point: nothing is random.
            (default: :obj:`False`)
        generator (torch.Generator, optional): The source of random numbers.

    Returns:
        Lifted: :math:`N \cdot K` lifted points, :math:`K` consecutive ones a
        point.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If :obj:`num_lifts` is less than one, or the points cannot
            be lifted (see :func:`~lieconv_pyg.lifting.check_points_and_batch`).
    """
    positive(num_lifts, "num_lifts")
    batch = check_points_and_batch(pos, batch, group)

    element, orbit = group.section(settle_center(group, pos, batch))
    num_points, dtype, device = pos.size(0), pos.dtype, pos.device
    if group.stabilizer_dim > 0:
        if fixed:
            stabilizer = group.stabilizer_grid(num_lifts, dtype, device)
        else:
            stabilizer = group.stabilizer_sample(
                num_points, num_lifts, generator=generator, dtype=dtype, device=device
            )
        element = group.compose(element.unsqueeze(1), stabilizer)
        element = element.reshape(-1, group.matrix_dim, group.matrix_dim)
    elif num_lifts > 1:
        element = element.repeat_interleave(num_lifts, dim=0)

    point = torch.arange(num_points, device=device)
    if num_lifts > 1:
        orbit = orbit.repeat_interleave(num_lifts, dim=0)
        batch = batch.repeat_interleave(num_lifts)
        point = point.repeat_interleave(num_lifts)
    return Lifted(element, orbit, batch, point, batch)


def settle_center(group: LieGroup, pos: Tensor, batch: Tensor) -> Tensor:
    r"""Puts points that are at the center of a rotation group up to rounding exactly
    there, where the lift is fixed: else rounding would choose their direction.

    Args:
        group (LieGroup): The group. All but rotations leave the points alone.
        pos (torch.Tensor): The points :math:`(N, d)`.
        batch (torch.Tensor): The example of each point :math:`(N,)`.
    """
    if not group.settles_center:
        return pos
    radius = pos.detach().norm(dim=1)
    largest = radius.new_zeros(int(batch[-1]) + 1)
    largest = largest.scatter_reduce(0, batch, radius, "amax")
    noise = 64 * torch.finfo(pos.dtype).eps * largest[batch]
    return torch.where((radius <= noise).unsqueeze(1), 0.0, pos)
