"""How much of a sharing of weights was learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lieconv_pyg.discovery.spans import cosines, orthonormal

_DEAD = 5e-2  # share of the largest singular value, below which a pattern is none


@dataclass(frozen=True)
class SharingScore:
    r"""What :func:`score_sharing` finds.

    Args:
        dimension (int): Patterns that were learned, without dead ones.
        true_dimension (int): Those that there are.
        coverage (float): Share of the true span that is in the learned one,
            :math:`\sum_k c_k^2 / d` with the cosines :math:`c_k` of the principal
            angles.
        purity (float): Share of the learned one that is true.
        angles (tuple of float): Principal angles in degrees, smallest first.
        chance (float): Coverage that random patterns of this dimension would have.
    """

    dimension: int
    true_dimension: int
    coverage: float
    purity: float
    angles: tuple[float, ...]
    chance: float

    def __str__(self) -> str:
        return (
            f"{self.dimension} patterns, {self.true_dimension} true ones, coverage "
            f"{self.coverage:.4f} (chance {self.chance:.4f}), purity "
            f"{self.purity:.4f}, worst angle {self.angles[-1]:.2f} degrees"
        )


def score_sharing(learned: Tensor, true: Tensor) -> SharingScore:
    r"""Compares learned patterns of sharing with the true ones, by the principal angles
    between their spans.

    Args:
        learned: Matrices :math:`(k, m, n)`, such as the patterns of
            :class:`~lieconv_pyg.discovery.SharedLinear`.
        true: Those of the tasks :math:`(d, m, n)`, of any lengths; some may depend on
            others.

    Raises:
        TypeError: If patterns are not a floating-point tensor.
        ValueError: If shapes do not fit, entries are infinite or NaN, or patterns are
            zero.
    """
    span, true_span = sharing_spans(learned, true)
    found = cosines(span, true_span)
    total = float(found.square().sum())
    return SharingScore(
        dimension=len(span),
        true_dimension=len(true_span),
        coverage=total / len(true_span),
        purity=total / len(span),
        angles=tuple(math.degrees(math.acos(c)) for c in found.tolist()),
        chance=len(span) / true[0].numel(),
    )


def sharing_spans(learned: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal bases :math:`(r, m, n)` of the spans of patterns, of those learned
    without dead ones, in float64 on the CPU; raises what :func:`score_sharing` does."""
    spans = {}
    given = {"true": (true, 1e-6), "learned": (learned, _DEAD)}
    for name, (patterns, tolerance) in given.items():
        if not isinstance(patterns, Tensor) or not patterns.is_floating_point():
            raise TypeError(f"'{name}' must be a floating-point tensor")
        if patterns.dim() != 3 or patterns.shape[1:] != true.shape[1:]:
            raise ValueError(
                f"'{name}' must have shape (patterns, m, n), alike for all, got "
                f"{tuple(patterns.shape)}; 'true' has {tuple(true.shape)}"
            )
        if not bool(patterns.isfinite().all()) or not bool(patterns.any()):
            raise ValueError(f"'{name}' is zero, or has infinite or NaN entries")
        patterns = patterns.detach().cpu().double()
        if name == "true":
            lengths = torch.linalg.matrix_norm(patterns, keepdim=True)
            patterns = patterns / lengths.clamp(min=1e-300)
        spans[name] = orthonormal(patterns, tolerance)
    return spans["learned"], spans["true"]
