"""Bases of Lie algebras that were learned: with noise, superfluous channels, and
brackets that leave them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from lieconv_pyg.discovery.metric import InvariantMetric
from lieconv_pyg.discovery.spans import brackets, matrices, orthonormal, outside
from lieconv_pyg.groups.checks import share


def clean_basis(
    basis: Tensor,
    metric: InvariantMetric | Tensor | None = None,
    tolerance: float = 1e-2,
) -> Tensor:
    r"""A basis of a Lie algebra from one that was learned: superfluous channels are
    left out, generators are made exactly skew in a metric,

    .. math::
        L \leftarrow (L - J^{-1} L^T J) / 2,

    which takes away the small growth by which a learned rotation does not close after a
    turn, brackets that leave the span are added until none does, and the generators are
    moved, by Newton steps, so that their brackets are exactly inside.

    Args:
        basis: Generators :math:`(c, n, n)`, which may depend on each other.
        metric: The invariant metric :math:`J`, symmetric :math:`(n, n)`, or what
            :func:`~lieconv_pyg.discovery.invariant_metric` returns, where of several
            metrics the one nearest to the identity is taken; none leaves the generators
            as they are.
        tolerance: Directions with singular values below this share of the largest, and
            parts of brackets outside of the span that are smaller, are taken for noise.

    Returns:
        An orthonormal basis :math:`(d, n, n)` in float64.

    Raises:
        TypeError: If the basis is not a floating-point tensor.
        ValueError: If the basis or the metric has another shape or infinite entries, or
            the basis is zero; if the metric is singular; or if the brackets fill all
            matrices, as those of noise do, or cannot be closed.
    """
    share(tolerance, "tolerance")
    found = orthonormal(matrices(basis, "basis"), tolerance)
    size = found.size(1)
    if metric is not None:
        J = _metric(_choose(metric), size)
        skew = (found - torch.linalg.solve(J, found.mT @ J)) / 2
        if float(skew.flatten(1).norm(dim=1).max()) <= tolerance:
            raise ValueError(
                "no generator of 'basis' keeps 'metric': give another one, or none"
            )
        found = orthonormal(skew, tolerance)
    while 1 < len(found) < size**2:
        away = outside(brackets(found), found).flatten(0, 1)
        away = away[away.flatten(1).norm(dim=1) > tolerance]
        if len(away) == 0:
            break
        found = torch.cat([found, orthonormal(away, tolerance)])
    if len(found) >= size**2 > 1:
        raise ValueError(
            f"'basis' and its brackets fill all matrices of size {size}, which is no "
            "symmetry: give fewer of them, a larger 'tolerance' or a 'metric'"
        )
    if metric is None:
        return _closed(found, torch.eye(size**2, dtype=found.dtype))
    units = torch.eye(size**2, dtype=found.dtype).view(-1, size, size)
    skew = (units - torch.linalg.solve(J, units.mT @ J)) / 2
    return _closed(found, orthonormal(skew, 1e-9).flatten(1))


def _closed(basis: Tensor, allowed: Tensor) -> Tensor:
    """The nearest generators (d, n, n) whose brackets are in their span, as
    combinations of allowed matrices (k, n * n)."""
    if len(basis) == 1:
        return basis
    shape = basis.shape

    def leaving(c: Tensor) -> Tensor:
        flat = torch.linalg.qr((c @ allowed).t()).Q.t()
        found = flat.view(shape)
        return outside(brackets(found), found).flatten()

    c = basis.flatten(1) @ allowed.t()
    for _ in range(30):
        away = leaving(c)
        if float(away.abs().max()) < 1e-12:
            break
        slope = torch.func.jacfwd(leaving)(c).flatten(1)
        step = torch.linalg.lstsq(slope, away, rcond=1e-8, driver="gelsd").solution
        c = c - step.view_as(c)
    if not float(away.abs().max()) < 1e-9:
        raise ValueError(
            "the brackets of 'basis' are nearly in its span, and no basis near it has "
            "them inside: give a smaller 'tolerance', or a 'metric'"
        )
    return torch.linalg.qr((c @ allowed).t()).Q.t().reshape(shape)


def _choose(metric: InvariantMetric | Tensor) -> Tensor:
    """The metric: of several that are invariant, which is nearest to the identity. The
    one with the least residual is any of them then, and may be singular."""
    if not isinstance(metric, InvariantMetric):
        return metric
    if len(metric.metrics) == 0 and metric.gap > 0.5:
        warnings.warn(
            "'metric' is none that generators keep: its residual, "
            f"{metric.residual:.2g}, is {metric.gap:.2g} times that of the next best; "
            "leave it out if they need keep none",
            stacklevel=3,
        )
    if len(metric.metrics) < 2:
        return metric.metric
    traces = metric.metrics.diagonal(dim1=1, dim2=2).sum(1)
    return torch.einsum("k,kij->ij", traces, metric.metrics)


def _metric(J: Tensor, size: int) -> Tensor:
    if not isinstance(J, Tensor) or J.shape != (size, size):
        shape = tuple(J.shape) if isinstance(J, Tensor) else type(J).__name__
        raise ValueError(f"'metric' must have shape ({size}, {size}), got {shape}")
    J = J.detach().to("cpu", torch.float64)
    J = (J + J.t()) / 2
    if not bool(J.isfinite().all()):
        raise ValueError("'metric' has infinite or NaN entries")
    if float(torch.linalg.cond(J)) > 1e8:
        raise ValueError(
            "'metric' is singular: a basis that leaves some directions as they are has "
            "many metrics, of which you can give another"
        )
    return J
