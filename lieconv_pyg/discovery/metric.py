"""The quadratic form that a Lie algebra keeps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lieconv_pyg.discovery.spans import matrices
from lieconv_pyg.groups.checks import nonnegative
from lieconv_pyg.groups.orbits import invariant_forms


@dataclass(frozen=True)
class InvariantMetric:
    r"""Symmetric matrices :math:`J` with :math:`L_i^T J + J L_i = 0`, in which
    :math:`u^T J v` is invariant.

    Args:
        metric (Tensor): The best of them, :math:`(n, n)`, of norm 1, with more positive
            eigenvalues than negative ones.
        residual (float): The norm of all :math:`L_i^T J + J L_i` together, for
            generators of norm 1: 0 where it is exactly invariant.
        gap (float): The residual over that of the next best: near 0, the metric is
            the only one; near 1, it is one of several, or there is none.
        metrics (Tensor): All with residuals below the tolerance, :math:`(k, n, n)`:
            several where the representation is reducible.
    """

    metric: Tensor
    residual: float
    gap: float
    metrics: Tensor


def invariant_metric(
    basis: Tensor, tolerance: float = 0.1, up_to_scale: bool = False
) -> InvariantMetric:
    r"""Finds the metric that a basis of a Lie algebra keeps: of all symmetric
    :math:`J` of norm 1 that with the least
    :math:`\sum_i \| L_i^T J + J L_i \|^2`, a singular vector. (LieGAN, Yang et al.
    2023, minimises the same sum.)

    Args:
        basis: Generators :math:`(c, n, n)`.
        tolerance: Residuals below it count as invariant.
        up_to_scale: Whether generators may multiply it by a number, as scalings do,
            which keep no metric: their traces are left out then, and they too, if
            nothing else is in them.

    Raises:
        TypeError: If the basis is not a floating-point tensor.
        ValueError: If it has another shape, infinite or NaN entries, or a generator
            that is zero.

    Example:
        >>> spin = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
        >>> invariant_metric(spin).metric.abs().round(decimals=3)
        tensor([[0.7070, 0.0000],
                [0.0000, 0.7070]], dtype=torch.float64)
    """
    nonnegative(tolerance, "tolerance")
    basis = matrices(basis, "basis")
    norms = basis.flatten(1).norm(dim=1)
    if bool((norms == 0).any()):
        raise ValueError(f"'basis' has a zero generator, number {int(norms.argmin())}")
    basis = basis / norms.view(-1, 1, 1)
    if up_to_scale:
        traces = basis.diagonal(dim1=1, dim2=2).mean(1)
        basis = basis - traces.view(-1, 1, 1) * torch.eye(basis.size(1)).to(basis)
        norms = basis.flatten(1).norm(dim=1, keepdim=True).unsqueeze(2)
        basis = (basis / norms.clamp(min=1e-300))[norms.flatten() > tolerance]
        if not len(basis):
            raise ValueError("'basis' has nothing but scalings, which keep any metric")
    values, found = invariant_forms(basis)
    positive = torch.linalg.eigvalsh(found)
    # More positive eigenvalues than negative ones; of as many, a positive first entry.
    balance = (positive > 1e-9).sum(1) - (positive < -1e-9).sum(1) + 0.0
    balance = torch.where(balance == 0, found[:, 0, 0], balance)
    found = torch.where(balance.view(-1, 1, 1) < 0, -found, found)
    kept = int((values < tolerance).sum())
    gap = 1.0
    if len(values) > 1 and float(values[1]) > 0:
        gap = float(values[0] / values[1])
    return InvariantMetric(found[0], float(values[0]), gap, found[:kept])
