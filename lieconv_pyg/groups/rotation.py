r"""Rotations of space: matrices, rotation vectors and unit quaternions.

A quaternion :math:`(w, x, y, z)` has its real part first. Nothing here has a
derivative that is infinite or undefined, at the identity and at angle :math:`\pi`
included.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lieconv_pyg.groups.ops import branch_tolerance, dot, matmul
from lieconv_pyg.groups.series import angle_over_sine, cosc, sinc

# Decides between the two logarithms of a rotation by pi: the axis that has a positive
# product with this vector wins. It was sought to be far from normal to every axis with
# integer coordinates up to 4, since data have axes of symmetry.
_AXIS_RULE = (0.1891, 0.0231, 0.9817)


def cross_matrix(w: Tensor) -> Tensor:
    r"""The matrix :math:`[w]_\times`, of shape :obj:`(*, 3, 3)`, of the map
    :math:`x \mapsto w \times x`, for vectors :obj:`(*, 3)`.
    """
    x, y, z = w.unbind(dim=-1)
    o = torch.zeros_like(x)
    rows = torch.stack([o, -z, y, z, o, -x, -y, x, o], dim=-1)
    return rows.unflatten(-1, (3, 3))


def rotation_exp(w: Tensor) -> Tensor:
    r"""Rodrigues' formula
    :math:`I + \tfrac{\sin\theta}{\theta} [w]_\times +
    \tfrac{1 - \cos\theta}{\theta^2} [w]_\times^2` with :math:`\theta = \|w\|`, for
    rotation vectors :obj:`(*, 3)`.
    """
    K = cross_matrix(w)
    s = w.square().sum(dim=-1)[..., None, None]
    eye = torch.eye(3, dtype=w.dtype, device=w.device)
    return eye + sinc(s) * K + cosc(s) * matmul(K, K)


def rotation_log(R: Tensor) -> Tensor:
    r"""The rotation vector :math:`2 \, \mathrm{atan2}(\|v\|, w) \, v / \|v\|` of the
    quaternion :math:`(w, v)` of :obj:`R`.

    :math:`(w, v)` and :math:`(-w, -v)` are the same rotation. The sign is chosen so
    that :math:`w \ge 0`, except if :math:`|w| \le \epsilon / 2`: there the product
    of :math:`v` and a fixed vector is made positive. So rounding cannot flip the
    result at an angle of exactly :math:`\pi`, and angles reach
    :math:`\pi + \epsilon`, see :func:`~lieconv_pyg.groups.ops.branch_tolerance`.

    Args:
        R (torch.Tensor): Rotation matrices of shape :obj:`(*, 3, 3)`.

    Returns:
        torch.Tensor: Rotation vectors of shape :obj:`(*, 3)`.
    """
    w, *v = quaternion_from_rotation(R).unbind(dim=-1)
    return torch.stack(quaternion_log(w, v), dim=-1)


def quaternion_log(w: Tensor, v: Sequence[Tensor]) -> list[Tensor]:
    r"""The coordinates of the rotation vector of a unit quaternion, see
    :func:`rotation_log`.

    Args:
        w (torch.Tensor): Real parts :obj:`(*)`.
        v (Sequence[torch.Tensor]): The three other coordinates :obj:`(*)`.
    """
    flip = is_second_half(w, v, branch_tolerance(w.dtype) / 2)
    sign = torch.where(flip, -torch.ones_like(w), torch.ones_like(w))
    scale = 2 * sign * angle_over_sine(dot(v, v), w * sign)
    return [scale * x for x in v]


def is_second_half(w: Tensor, v: Sequence[Tensor], tolerance: float | Tensor) -> Tensor:
    r"""Whether :math:`(-w, -v)`, and not :math:`(w, v)`, is the quaternion that
    rotation vectors are made from, see :func:`rotation_log`.

    Args:
        w (torch.Tensor): Real parts :obj:`(*)`.
        v (Sequence[torch.Tensor]): The three other coordinates :obj:`(*)`.
        tolerance (float or torch.Tensor): Up to this :math:`|w|` the fixed vector
            decides.
    """
    rule = sum(x * c for x, c in zip(v, _AXIS_RULE, strict=True))
    return torch.where(w.abs() <= tolerance, rule < 0, w < 0)


def quaternion_from_rotation(R: Tensor) -> Tensor:
    r"""A unit quaternion of shape :obj:`(*, 4)`, of either sign, for rotation matrices
    :obj:`(*, 3, 3)`.

    The entries of :obj:`R` give the matrix :math:`4 q q^\top`; its row with the
    largest diagonal entry, at least 1, is :math:`q` up to a factor (Shepperd,
    "Quaternion from Rotation Matrix", 1978, without his square roots).
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in R.unbind(-2))
    wx, wy, wz = h - f, c - g, d - b
    xy, xz, yz = b + d, c + g, f + h
    diagonal = [1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i]
    ww, xx, yy, zz = diagonal
    entries = [ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz]
    outer = torch.stack(entries, dim=-1).unflatten(-1, (4, 4))
    best = torch.stack(diagonal, dim=-1).argmax(dim=-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    row = outer.gather(-2, index).squeeze(-2)
    return row / row.square().sum(dim=-1, keepdim=True).sqrt()


def rotation_from_quaternion(q: Tensor) -> Tensor:
    r"""Rotation matrices :obj:`(*, 3, 3)` of nonzero quaternions :obj:`(*, 4)`, which
    are normalized here.
    """
    w, x, y, z = (q / q.square().sum(dim=-1, keepdim=True).sqrt()).unbind(dim=-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def quaternion_product(p: Tensor, q: Tensor) -> Tensor:
    r"""The Hamilton product :math:`pq` of quaternions :obj:`(*, 4)`."""
    a, b = p[..., :1], p[..., 1:]
    c, d = q[..., :1], q[..., 1:]
    real = a * c - (b * d).sum(dim=-1, keepdim=True)
    return torch.cat([real, a * d + c * b + torch.linalg.cross(b, d)], dim=-1)


def super_fibonacci(num: int) -> Tensor:
    r""":obj:`num` well spread rotations as quaternions :obj:`(num, 4)` in float64, the
    first of them the identity.

    From Alexa, "Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3)"
    (CVPR 2022), Algorithm 1; all are turned by one rotation so that the
    first is the identity.
    """
    # The constants are sqrt(2) and the root of x^4 = x + 4 (Section 4 there).
    phi, psi = 2**0.5, 1.533751168755204288118041413
    k = torch.arange(num, dtype=torch.float64) + 0.5
    inner, outer = (k / num).sqrt(), (1 - k / num).sqrt()
    alpha, beta = 2 * torch.pi * k / phi, 2 * torch.pi * k / psi
    q = torch.stack(
        [
            inner * alpha.sin(),
            inner * alpha.cos(),
            outer * beta.sin(),
            outer * beta.cos(),
        ],
        dim=-1,
    )
    conjugate = q[:1] * q.new_tensor([1.0, -1.0, -1.0, -1.0])
    identity = q.new_tensor([[1.0, 0.0, 0.0, 0.0]])
    return torch.cat([identity, quaternion_product(conjugate, q[1:])])


def rotation_to_direction(n: Tensor) -> Tensor:
    r"""A rotation :math:`R` with :math:`R e_1 = n`, for unit vectors :obj:`(*, 3)`.

    It is the one with the smallest angle,
    :math:`I + [w]_\times + \tfrac{1}{1 + c} [w]_\times^2` with
    :math:`w = e_1 \times n` and :math:`c = n_1`. No choice is continuous at
    :math:`n = -e_1`. Within :math:`\sqrt[4]{\mathrm{eps}}` of there it is the rotation
    by :math:`\pi` about the third axis, followed by the one with the smallest angle
    from :math:`-e_1` to :math:`n`; so rounding cannot decide the outcome for a point
    on the negative first axis.
    """
    near = n[..., 1:].square().sum(-1) < torch.finfo(n.dtype).eps ** 0.5
    near = near & (n[..., 0] < 0)
    # The smallest rotation from -e_1 to n is the one from e_1 to -n.
    c, a, b = torch.where(near.unsqueeze(-1), -n, n).unbind(dim=-1)
    front = c >= 0
    one = torch.ones_like(c)
    # 1 / (1 + c), without cancellation for c < 0.
    k = torch.where(
        front,
        one / torch.where(front, 1 + c, one),
        (1 - c) / torch.where(front, one, a * a + b * b),
    )
    f = torch.where(near, -one, one)
    entries = [
        f * c, -f * a, -b,
        f * a, f * (1 - a * a * k), -a * b * k,
        f * b, -f * a * b * k, 1 - b * b * k,
    ]  # fmt: skip
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
