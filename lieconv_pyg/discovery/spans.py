"""Spans of matrices, and their brackets."""

from __future__ import annotations

import torch
from torch import Tensor


def matrices(basis: Tensor, name: str) -> Tensor:
    """A stack of square matrices :math:`(c, n, n)`, some of which may depend on others,
    in float64 on the CPU.

    Raises:
        TypeError: If it is not a floating-point tensor.
        ValueError: If it has another shape, infinite or NaN entries, or is zero.
    """
    if not isinstance(basis, Tensor) or not basis.is_floating_point():
        raise TypeError(f"'{name}' must be a floating-point tensor")
    shape = tuple(basis.shape)
    if basis.dim() != 3 or shape[1] != shape[2] or basis.numel() == 0:
        raise ValueError(f"'{name}' must have shape (channels, n, n), got {shape}")
    basis = basis.detach().to("cpu", torch.float64)
    if not bool(basis.isfinite().all()):
        raise ValueError(f"'{name}' has infinite or NaN entries")
    if not bool(basis.any()):
        raise ValueError(f"'{name}' is zero: there is no generator in it")
    return basis


def orthonormal(basis: Tensor, tolerance: float) -> Tensor:
    """An orthonormal basis :math:`(r, n, n)` of the span of matrices, without the
    directions whose singular values are below a share of the largest."""
    _, values, rows = torch.linalg.svd(basis.flatten(1), full_matrices=False)
    return rows[values > tolerance * values[0]].view(-1, *basis.shape[1:])


def brackets(basis: Tensor) -> Tensor:
    """The commutators :math:`[L_i, L_j]` of all pairs :math:`i < j`."""
    i, j = torch.triu_indices(len(basis), len(basis), 1)
    return basis[i] @ basis[j] - basis[j] @ basis[i]


def outside(found: Tensor, basis: Tensor) -> Tensor:
    """What of matrices is not in the span of an orthonormal basis."""
    flat, span = found.flatten(1), basis.flatten(1)
    return (flat - flat @ span.t() @ span).view_as(found)
