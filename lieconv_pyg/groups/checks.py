"""Checks of arguments; each raises an error that names the argument."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_DEPENDENT = 1e-6  # sines of angles below it are rounding, in float32 too


def trailing_shape(x: Tensor, name: str, shape: tuple[int, ...], owner: Any) -> Tensor:
    r"""Checks that :obj:`x` is a floating-point tensor whose last dimensions are
    :obj:`shape`. Half precision is raised to float32, in which, at least, the groups
    compute.

    Raises:
        TypeError: If :obj:`x` is not a floating-point tensor.
        ValueError: If it has another shape.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"`{name}` must be a tensor, got {type(x).__name__}")
    if tuple(x.shape[-len(shape) :]) != shape:
        expected = "(*, " + ", ".join(map(str, shape)) + ")"
        raise ValueError(
            f"`{name}` must have shape {expected} for {owner!r}, got {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        raise TypeError(f"`{name}` must be floating point, got {x.dtype}")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check_dimensions(group: Any) -> None:
    r"""Checks that a group states its dimensions.

    Raises:
        TypeError: If one of them is missing or not an integer.
    """
    for name in ("dim", "orbit_dim", "matrix_dim", "space_dim"):
        if not isinstance(getattr(group, name, None), int):
            raise TypeError(
                f"{type(group).__name__} must define the integer class attribute "
                f"`{name}`"
            )


def unit_interval(value: float, name: str) -> float:
    r"""Returns :obj:`value` if it is a number in :math:`[0, 1]`, else raises a
    :class:`ValueError`.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be a number in [0, 1], got {value!r}")
    return float(value)


def positive(value: int, name: str) -> int:
    r"""Returns :obj:`value` if it is an integer of at least 1.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"'{name}' must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"'{name}' must be at least 1, got {value}")
    return value


def share(value: float, name: str) -> float:
    r"""Returns :obj:`value` if it is a number in :math:`(0, 1]`.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is out of range, or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"'{name}' must be a number in (0, 1], got {value!r}")
    if not 0 < value <= 1:
        raise ValueError(f"'{name}' must be in (0, 1], got {value}")
    return float(value)


def nonnegative(value: float, name: str) -> float:
    r"""Returns :obj:`value` if it is a finite number of at least 0.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is negative, infinite or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"'{name}' must be a number of at least 0, got {value!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"'{name}' must be at least 0 and finite, got {value}")
    return float(value)


def matrix_stack(value: Tensor, name: str, shape: str) -> Tensor:
    r"""Checks a stack of square matrices, and returns a copy in float64 on the CPU.

    Args:
        value (torch.Tensor): The matrices :obj:`(c, m, m)`.
        name (str): What messages call it, with its quotes.
        shape (str): How messages state the shape.

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If it has another shape, or infinite or NaN entries.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor")
    found = tuple(value.shape)
    if value.dim() != 3 or found[1] != found[2] or value.numel() == 0:
        raise ValueError(f"{name} must have shape {shape}, got {found}")
    stack = value.detach().to("cpu", torch.float64, copy=True)
    if not bool(stack.isfinite().all()):
        raise ValueError(f"{name} has infinite or NaN entries")
    return stack


def matrix_basis(generators: Tensor, name: str) -> Tensor:
    r"""Checks a stack of linearly independent square matrices, of shape
    :obj:`(dim, m, m)` and of any lengths, and returns a copy in float64 on the CPU.

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If it has another shape, infinite or NaN entries, a matrix of zeros,
            or linearly dependent matrices.
    """
    basis = matrix_stack(generators, f"`{name}`", "(dim, m, m)")
    size = basis.abs().amax(dim=(1, 2))
    if not bool(size.all()):
        raise ValueError(
            f"`{name}` has a zero generator, number {int(size.argmin())}: leave it out"
        )
    unit = basis.flatten(1) / size[:, None]
    unit = unit / unit.norm(dim=1, keepdim=True)
    rank = int(torch.linalg.matrix_rank(unit, rtol=_DEPENDENT))
    if rank < len(basis):
        raise ValueError(
            f"`{name}` are linearly dependent: {len(basis)} matrices of rank {rank}; "
            f"leave out the superfluous ones"
        )
    return basis


def matrix_form(value: Any, name: str, size: int) -> Tensor:
    r"""Checks the matrix :obj:`(size, size)` of a form, or what has one as
    :obj:`metric`, and returns it in float64 on the CPU.

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If it has another shape, or infinite or NaN entries.
    """
    value = getattr(value, "metric", value)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"`{name}` must be a floating-point tensor")
    if value.shape != (size, size):
        raise ValueError(
            f"`{name}` must have shape ({size}, {size}), got {tuple(value.shape)}"
        )
    if not bool(value.isfinite().all()):
        raise ValueError(f"`{name}` has infinite or NaN entries")
    return value.detach().to("cpu", torch.float64)
