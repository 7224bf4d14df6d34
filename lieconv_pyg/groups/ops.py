"""Small tensor operations that the groups share.

Products of tiny matrices are written as explicit sums, which compile into one loop
and stay in the precision of their arguments: neither :func:`torch.autocast` nor
TensorFloat-32 (:func:`torch.set_float32_matmul_precision`) touches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

Device = torch.device | str | None


def matmul(a: Tensor, b: Tensor) -> Tensor:
    r"""The matrix product :math:`AB`, of shape :obj:`(*, m, n)`.

    Args:
        a (torch.Tensor): Matrices of shape :obj:`(*, m, k)`, with :obj:`k > 0`.
        b (torch.Tensor): Matrices of shape :obj:`(*, k, n)`.
    """
    out = a[..., :, :1] * b[..., :1, :]
    for k in range(1, a.shape[-1]):
        out = torch.addcmul(out, a[..., :, k : k + 1], b[..., k : k + 1, :])
    return out


def matvec(a: Tensor, x: Tensor) -> Tensor:
    r"""The product :math:`Ax` of matrices :obj:`(*, m, k)` and vectors
    :obj:`(*, k)`, of shape :obj:`(*, m)`.
    """
    return sum_last(a * x.unsqueeze(-2))


def sum_last(x: Tensor) -> Tensor:
    r"""The sum over the last dimension, which is small: in fewer passes than
    :meth:`torch.Tensor.sum`.
    """
    return reduce(torch.add, x.unbind(dim=-1)) if 0 < x.shape[-1] <= 8 else x.sum(-1)


def cross(a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    r"""The product :math:`a \times b` of vectors given by their coordinates, exactly 0
    for equal ones.
    """
    (ax, ay, az), (bx, by, bz) = a, b
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    r"""The product :math:`a \cdot b` of vectors given by their coordinates."""
    return reduce(torch.add, (x * y for x, y in zip(a, b, strict=True)))


def norm(x: Tensor) -> Tensor:
    r"""The Euclidean norm over the last dimension, with derivatives of all orders
    equal to zero (instead of NaN) at the zero vector.

    The vector is divided by its largest entry first, a constant as far as
    differentiation goes (the norm is homogeneous), so squares neither overflow nor
    underflow.

    Args:
        x (torch.Tensor): Vectors of shape :obj:`(*, n)`; :obj:`n` may be 0.
    """
    if x.shape[-1] == 0:
        return x.sum(dim=-1)
    largest = x.detach().abs()
    largest = reduce(torch.maximum, largest.unbind(dim=-1))
    tiny = torch.finfo(x.dtype).tiny ** 0.75
    scale = torch.where(largest > tiny, largest, torch.ones_like(largest))
    square = sum_last((x / scale.unsqueeze(-1)).square())
    nonzero = square > 0
    safe = torch.where(nonzero, square, torch.ones_like(square))
    root = torch.where(nonzero, safe.sqrt(), torch.zeros_like(square))
    return root * scale


def homogeneous(linear: Tensor, translation: Tensor) -> Tensor:
    r"""The affine map :math:`x \mapsto Ax + t` as a matrix
    :math:`\begin{pmatrix} A & t \\ 0 & 1 \end{pmatrix}`.

    Args:
        linear (torch.Tensor): :math:`A`, of shape :obj:`(*, n, n)`.
        translation (torch.Tensor): :math:`t`, of shape :obj:`(*, n)`.
    """
    n = translation.shape[-1]
    shape = torch.broadcast_shapes(linear.shape[:-2], translation.shape[:-1])
    top = torch.cat(
        [
            linear.expand(*shape, n, n),
            translation.expand(*shape, n).unsqueeze(-1),
        ],
        dim=-1,
    )
    bottom = top.new_zeros(n + 1)
    bottom[n] = 1.0
    return torch.cat([top, bottom.expand(*shape, 1, n + 1)], dim=-2)


def branch_tolerance(dtype: torch.dtype) -> float:
    r"""Half-width :math:`\epsilon` of the zone around the rotation angle
    :math:`\pi` where a fixed rule, and not rounding, picks one of the two
    logarithms.
    """
    return 1e-10 if dtype == torch.float64 else 4e-6


def wrap_angle(angle: Tensor) -> Tensor:
    r"""Angles of :obj:`atan2` moved from :math:`[-\pi, \pi]` to
    :math:`(-\pi + \epsilon, \pi + \epsilon]`, see :func:`branch_tolerance`.
    """
    low = -torch.pi + branch_tolerance(angle.dtype)
    return torch.where(angle <= low, angle + 2 * torch.pi, angle)


def randn(
    shape: Sequence[int],
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    r"""Standard normal numbers, drawn on the device of the generator and then
    moved, so that a CPU generator gives the same numbers on every device.
    """
    source = device if generator is None else generator.device
    out = torch.randn(tuple(shape), generator=generator, dtype=dtype, device=source)
    return out if device is None else out.to(device)


def rand(
    shape: Sequence[int],
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Tensor:
    r"""As :func:`randn`, uniform on :math:`[0, 1)`."""
    source = device if generator is None else generator.device
    out = torch.rand(tuple(shape), generator=generator, dtype=dtype, device=source)
    return out if device is None else out.to(device)


def unit_vector(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The direction and the length of vectors.

    Args:
        x (torch.Tensor): Vectors of shape :obj:`(*, n)`.

    Returns:
        tuple: :math:`x / \|x\|` of shape :obj:`(*, n)` and :math:`\|x\|` of shape
        :obj:`(*,)`. At the zero vector these are the first axis and 0, with zero
        derivatives.
    """
    length = norm(x)
    axis = torch.zeros_like(x)
    axis[..., 0] = 1.0
    safe = torch.where((length > 0).unsqueeze(-1), x, axis)
    return safe / norm(safe).unsqueeze(-1), length
