"""How much of a symmetry a learned basis has found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lieconv_pyg.discovery.spans import (
    brackets,
    cosines,
    matrices,
    orthonormal,
    outside,
    seen_span,
)
from lieconv_pyg.groups.checks import positive

_DEAD = 5e-2  # share of the largest singular value, below which a channel is none


@dataclass(frozen=True)
class BasisScore:
    r"""What :func:`score_basis` finds. Nothing of it depends on the scale of a basis,
    nor on which one of a span was learned, but that directions in which it is less than
    a twentieth as long as in the longest count as dead.

    Args:
        dimension (int): Generators that were learned, without dead channels.
        true_dimension (int): Those that there are.
        coverage (float): Share of the true algebra that is in the learned one,
            :math:`\sum_k c_k^2 / d` with the cosines :math:`c_k` of the principal
            angles.
        purity (float): Share of the learned one that is true.
        angles (tuple of float): Principal angles in degrees, smallest first.
        chance (float): Coverage that a random basis of this dimension would have.
        closure (float): Norm of the part of the brackets of an orthonormal basis that
            is outside its span, the root of its mean square over pairs.
        killing (tuple of int): Numbers of positive, negative and zero eigenvalues of
            the Killing form: (3, 3, 0) for the Lorentz group, (0, 3, 0) for SO(3).
    """

    dimension: int
    true_dimension: int
    coverage: float
    purity: float
    angles: tuple[float, ...]
    chance: float
    closure: float
    killing: tuple[int, int, int]

    def __str__(self) -> str:
        signs = ", ".join(map(str, self.killing))
        return (
            f"{self.dimension} of {self.true_dimension} generators, coverage "
            f"{self.coverage:.4f} (chance {self.chance:.4f}), purity "
            f"{self.purity:.4f}, worst angle {self.angles[-1]:.2f} degrees, closure "
            f"{self.closure:.1e}, Killing form (+, -, 0): {signs}"
        )


def score_basis(
    learned: Tensor,
    true: Tensor,
    data: Tensor | None = None,
    sigma: Tensor | None = None,
    mask: Tensor | None = None,
) -> BasisScore:
    r"""Compares a learned basis with the true one: by the principal angles between
    their spans, restricted to what the data can show.

    Args:
        learned: Generators :math:`(c, n, n)`; some may be superfluous, or dead.
        true: The true ones :math:`(d, n, n)`.
        data: Points :math:`(N, n)` that the group acts on. What generators do to
            vectors that are not in the span of the data, no data can tell, and is left
            out. Without it all counts.
        sigma: Standard deviations :math:`(c)` of the coefficients that the generators
            were learned with: a channel that is hardly used counts as dead.
        mask: Entries :math:`(n, n)` that were searched, for :obj:`chance`; all by
            default.

    Raises:
        TypeError: If a basis is not a floating-point tensor, or the scales or the mask
            no tensor.
        ValueError: If shapes do not fit, entries are infinite or NaN, a basis is zero,
            or the data show nothing of it.
    """
    learned, true = matrices(learned, "learned"), matrices(true, "true")
    size = learned.size(1)
    if true.size(1) != size:
        raise ValueError(
            f"'learned' are matrices of size {size}, 'true' of size {true.size(1)}"
        )
    if sigma is not None:
        if not isinstance(sigma, Tensor):
            raise TypeError(f"'sigma' must be a tensor, got {type(sigma).__name__}")
        if sigma.shape != (len(learned),):
            raise ValueError(
                f"'sigma' must have shape ({len(learned)},), got {tuple(sigma.shape)}"
            )
        learned = matrices(sigma.detach().cpu().view(-1, 1, 1) * learned, "learned")
    seen = seen_span(data, size)
    lengths = true.flatten(1).norm(dim=1).clamp(min=1e-300)
    true = true / lengths.view(-1, 1, 1)
    shown = []
    for basis, name in ((learned, "learned"), (true, "true")):
        if float((basis @ seen).norm()) <= 1e-9 * float(basis.norm()):
            raise ValueError(f"'data' show nothing of '{name}'")
        shown.append(basis @ seen)
    spans = [
        orthonormal(basis, tolerance)
        for basis, tolerance in zip(shown, (_DEAD, 1e-6), strict=True)
    ]
    common = cosines(*spans)
    total = float(common.square().sum())
    span = orthonormal(learned, _DEAD)
    searched = torch.ones(size, size) if mask is None else mask
    if not isinstance(searched, Tensor):
        raise TypeError(f"'mask' must be a tensor, got {type(mask).__name__}")
    if searched.shape != (size, size) or not bool(searched.any()):
        raise ValueError(
            f"'mask' must have shape ({size}, {size}) and entries other than 0, got "
            f"shape {tuple(searched.shape)}"
        )
    units = torch.eye(size**2, dtype=torch.double)[searched.cpu().flatten() != 0]
    units = units.view(-1, size, size) @ seen
    if not bool(units.any()):
        raise ValueError("'data' show nothing of 'mask'")
    found = brackets(span)
    away = float(outside(found, span).square().sum())
    return BasisScore(
        dimension=len(spans[0]),
        true_dimension=len(spans[1]),
        coverage=total / len(spans[1]),
        purity=total / len(spans[0]),
        angles=tuple(math.degrees(math.acos(c)) for c in common.tolist()),
        chance=len(spans[0]) / int(torch.linalg.matrix_rank(units.flatten(1))),
        closure=(away / max(len(span) * (len(span) - 1), 1)) ** 0.5,
        killing=_killing(found, span),
    )


def score_cyclic(learned: Tensor, true: Tensor, order: int) -> tuple[int, float]:
    r"""How near the powers of a learned element :math:`\exp(L)` are to those of a
    discrete symmetry, the turns :math:`\exp(2 \pi m / N \, L_0)`.

    Args:
        learned: The generator :math:`(n, n)` or :math:`(1, n, n)`, with integer
            coefficients.
        true: The generator :math:`L_0` of turns, alike, with the period :math:`2 \pi`.
        order: The number :math:`N` of turns.

    Returns:
        The :math:`m`, of those that generate all turns, with the smallest error, and
        that error: the largest, over :math:`k = 1, \ldots, N - 1`, of
        :math:`\| \exp(k L) - \exp(2 \pi k m / N \, L_0) \| / \sqrt n`.

    Raises:
        TypeError: If a generator is not a floating-point tensor.
        ValueError: If shapes do not fit, or the order is less than 2.
    """
    L, turn = (
        matrices(x[None] if isinstance(x, Tensor) and x.dim() == 2 else x, name)
        for x, name in ((learned, "learned"), (true, "true"))
    )
    if L.shape != turn.shape or len(L) > 1:
        raise ValueError(
            f"'learned' and 'true' must be single generators of one size, got "
            f"{tuple(learned.shape)} and {tuple(true.shape)}"
        )
    if positive(order, "order") < 2:
        raise ValueError(f"'order' must be at least 2, got {order}")
    k = torch.arange(1, order, dtype=torch.double).view(-1, 1, 1)
    powers = torch.linalg.matrix_exp(k * L)
    found = {}
    for m in (m for m in range(1, order) if math.gcd(m, order) == 1):
        off = powers - torch.linalg.matrix_exp(2 * math.pi * m / order * k * turn)
        found[m] = float(off.flatten(1).norm(dim=1).max()) / L.size(1) ** 0.5
    best = min(found, key=lambda m: found[m])
    return best, found[best]


def _killing(found: Tensor, span: Tensor) -> tuple[int, int, int]:
    """Signs of the eigenvalues of :math:`K_{ij} = c_{ikl} c_{jlk}`, from brackets."""
    c = found.flatten(2) @ span.flatten(1).t()
    values = torch.linalg.eigvalsh(torch.einsum("ikl,jlk->ij", c, c))
    tolerance = max(1e-2 * float(values.abs().max()), 1e-3)
    positive = int((values > tolerance).sum())
    negative = int((values < -tolerance).sum())
    return positive, negative, len(values) - positive - negative
