"""Spans of matrices, and their brackets."""

from __future__ import annotations

import torch
from torch import Tensor

from lieconv_pyg.groups.checks import matrix_stack


def matrices(basis: Tensor, name: str) -> Tensor:
    """A stack of square matrices :math:`(c, n, n)`, some of which may depend on others,
    in float64 on the CPU.

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If it has another shape, infinite or NaN entries, or is zero.
    """
    basis = matrix_stack(basis, f"'{name}'", "(channels, n, n)")
    if not bool(basis.any()):
        raise ValueError(f"'{name}' is zero: there is no generator in it")
    return basis


def orthonormal(basis: Tensor, tolerance: float) -> Tensor:
    """An orthonormal basis :math:`(r, n, n)` of the span of matrices, without the
    directions whose singular values are below a share of the largest."""
    _, values, rows = torch.linalg.svd(basis.flatten(1), full_matrices=False)
    return rows[values > tolerance * values[0]].view(-1, *basis.shape[1:])


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosines of the principal angles between the spans of two orthonormal bases,
    the largest first."""
    return torch.linalg.svdvals(first.flatten(1) @ second.flatten(1).t()).clamp(max=1)


def brackets(basis: Tensor) -> Tensor:
    """The commutators :math:`[L_i, L_j]`, of shape :math:`(d, d, n, n)`."""
    products = basis.unsqueeze(1) @ basis
    return products - products.transpose(0, 1)


def outside(found: Tensor, basis: Tensor) -> Tensor:
    """What of matrices :math:`(*, n, n)` is not in the span of an orthonormal basis."""
    flat, span = found.flatten(-2), basis.flatten(1)
    return (flat - flat @ span.t() @ span).view_as(found)


def seen_span(data: Tensor | None, size: int) -> Tensor:
    """The projector :math:`(n, n)` on the span of points :math:`(N, n)`, in float64;
    without any, on everything.

    Raises:
        ValueError: If the points have another shape, or infinite or NaN entries.
    """
    if data is None:
        return torch.eye(size, dtype=torch.double)
    bad = not isinstance(data, Tensor) or data.dim() != 2 or not len(data)
    if bad or data.size(1) != size:
        shape = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise ValueError(f"'data' must have shape (points, {size}), got {shape}")
    data = data.detach().to("cpu", torch.double)
    if not bool(data.isfinite().all()):
        raise ValueError("'data' has infinite or NaN entries")
    _, values, rows = torch.linalg.svd(data, full_matrices=False)
    rows = rows[values > 1e-6 * values[0]]
    return rows.t() @ rows
