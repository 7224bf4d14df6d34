"""Frames of shapes without unique principal axes."""

import torch
from torch import Tensor

# Radii (areas) that differ by less than this, relative to the largest, are
# equal: more than the error of tabulated coordinates of a symmetric molecule.
SAME = 1e-4
# Shapes of less area than this, relative to the squared radius, are nearly linear.
THIN = 0.1
MAX_FRAMES = 4096
MAX_PAIRS = 2**22
# Signs of the axes of a frame: as it is, and after a half turn about each axis.
HALF_TURNS = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))


def symmetric_frames(
    x: Tensor, noise: float, dtype: torch.dtype, vectors: bool = False
) -> Tensor:
    r"""Frames of one shape from its points, for shapes whose principal axes
    are not unique.

    In space, every ordered pair of points :math:`(p, q)` that spans the
    largest area :math:`\|p \times q\|` with the center gives the frame with
    axes :math:`e_1 = p / \|p\|`, :math:`e_2` the part of :math:`q`
    orthogonal to it and :math:`e_3 = e_1 \times e_2`; in the plane, every
    point that is farthest from the center gives one. So whatever maps
    the shape onto itself maps this set of frames onto itself, and mirror
    images are kept apart.

    Points on a line fix the line only, in two directions. The third axis is
    then arbitrary, and of no effect: in such a frame all points are
    :math:`(s, 0, 0)`, and so are their differences. A single place has the
    standard axes as its frame, for the same reason. It has an effect on vectors:
    for these, such frames come with their half turns about the line, or about
    all axes, so that in the mean nothing is left of what is arbitrary. So do those of
    nearly linear shapes, for which it is arbitrary but for little.

    Args:
        x (torch.Tensor): The points :math:`(n, d)` about their center, in
            double precision.
        noise (float): The rounding error of the coordinates.
        dtype (torch.dtype): The precision that the points were given in.
        vectors (bool, optional): Whether vectors are averaged over the frames.
            (default: :obj:`False`)

    Shapes:
        - **output:** :math:`(F, d, d)`, axes as columns

    Raises:
        ValueError: If there are more than 4096 frames.
    """
    radius = x.detach().norm(dim=-1)
    largest = float(radius.max())
    if largest <= 16 * noise:
        eye = torch.eye(x.size(1), dtype=x.dtype, device=x.device).unsqueeze(0)
        return _half_turns(eye, 2 * x.size(1) - 2) if vectors else eye
    if x.size(1) == 2:
        p = x[radius >= (1 - SAME) * largest]
        _check_number(p.size(0))
        first = p / p.norm(dim=-1, keepdim=True)
        second = torch.stack([-first[:, 1], first[:, 0]], dim=-1)
        return torch.stack([first, second], dim=-1)

    flat = max(torch.finfo(dtype).eps ** 0.5 * largest, 64 * noise)
    pairs = _widest_pairs(x.detach(), flat * largest)
    if pairs.size(1) == 0:
        line = _line_frames(x, radius)
        return _half_turns(line, 2) if vectors else line
    p, q = x[pairs[0]], x[pairs[1]]
    first = p / p.norm(dim=-1, keepdim=True)
    second = q - (first * q).sum(dim=-1, keepdim=True) * first
    found = _complete(first, second)
    area = float(torch.linalg.cross(p[0], q[0]).detach().norm())
    # As for a line, and as principal axes have it: what is nearly arbitrary of nearly
    # linear shapes cancels.
    thin = area < THIN * largest**2
    return _half_turns(found, 4) if vectors and thin else found


def _widest_pairs(x: Tensor, floor: float) -> Tensor:
    r"""Ordered pairs :math:`(2, P)` of the largest area, none if that is
    below the floor.
    """
    found, areas = [], []
    top = floor
    rows = torch.arange(x.size(0), device=x.device)
    for part in rows.split(max(1, MAX_PAIRS // x.size(0))):
        area = torch.linalg.cross(x[part].unsqueeze(1), x.unsqueeze(0), dim=-1)
        area = area.norm(dim=-1)
        top = max(top, float(area.max()))
        index = (area >= (1 - SAME) * top).nonzero()
        found.append(torch.stack([part[index[:, 0]], index[:, 1]]))
        areas.append(area[index[:, 0], index[:, 1]])
    keep = torch.cat(areas)
    keep = (keep >= (1 - SAME) * top) & (keep > floor)
    pairs = torch.cat(found, dim=1)[:, keep]
    _check_number(pairs.size(1))
    return pairs


def _line_frames(x: Tensor, radius: Tensor) -> Tensor:
    r"""The two directions of a line, with any third axis."""
    far = x.detach()[radius.argmax()]
    side = torch.sign(x.detach() @ far).unsqueeze(-1)
    direction = (side * x).sum(dim=0)
    first = direction / direction.norm()
    first = torch.stack([first, -first])
    helper = torch.eye(3, dtype=x.dtype, device=x.device)[
        first[0].detach().abs().argmin()
    ]
    second = helper - (first * helper).sum(dim=-1, keepdim=True) * first
    return _complete(first, second)


def _half_turns(frames: Tensor, number: int) -> Tensor:
    r"""The frames after the first so many of the half turns; in the plane, where the
    turn is about the axis that is not there, these are two.
    """
    signs = frames.new_tensor(HALF_TURNS)[:number, 3 - frames.size(-1) :]
    return (frames * signs[:, None, None]).flatten(0, 1)


def _complete(first: Tensor, second: Tensor) -> Tensor:
    second = second / second.norm(dim=-1, keepdim=True)
    third = torch.linalg.cross(first, second, dim=-1)
    return torch.stack([first, second, third], dim=-1)


def _check_number(number: int) -> None:
    if number > MAX_FRAMES:
        raise ValueError(
            f"an example has {number} equivariant frames, more than {MAX_FRAMES}: its "
            f"points are too symmetric. Use lift='haar' (random or fixed lifts) "
            f"for such data"
        )
