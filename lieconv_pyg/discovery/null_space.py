"""Symmetries of a function, from its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from lieconv_pyg.discovery.augerino import Predictor
from lieconv_pyg.discovery.method import DiscoveryMethod, Player
from lieconv_pyg.discovery.pairs import Representation
from lieconv_pyg.discovery.spans import seen_span
from lieconv_pyg.groups.checks import positive


class NullSpace(NamedTuple):
    r"""Generators in the order of how well a function keeps them.

    Args:
        generators (Tensor): Orthonormal :math:`(c, n, n)`, in float64.
        residuals (Tensor): The root mean square by which each changes the function,
            over that of the worst, :math:`(c)`, the smallest first.
    """

    generators: Tensor
    residuals: Tensor


def gradient_null_space(
    function: Callable[[Tensor], Tensor], x: Tensor, representation: Representation
) -> NullSpace:
    r"""The generators :math:`L` under which a differentiable function is invariant,
    :math:`\nabla f(x) \cdot L x = 0`, or equivariant,
    :math:`J_f(x) \, L x = L f(x)`: linear equations for :math:`L`, one for each point
    and output, of which the singular vectors are in the order of their singular
    values. (The idea is that of `"LieGG" <https://arxiv.org/abs/2210.04345>`_.)

    What generators do to vectors that are not in the span of the data is left out.

    Args:
        function: Of :math:`x` :math:`(B, k, n)`; it gives vectors :math:`(B, l, n)`,
            on which generators act too, where the representation has :obj:`"vectors"`,
            else numbers :math:`(B, m)` or :math:`(B)`.
        x: Points :math:`(B, k, n)`.
        representation: How the group acts on them.

    Raises:
        TypeError: If the points are no floating-point tensor.
        ValueError: If shapes do not fit, the function has gradients that are infinite
            or NaN, or none, or there are too few points.
    """
    n = representation.size
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError("'x' must be a floating-point tensor")
    if x.dim() != 3 or x.size(2) != n or not len(x):
        raise ValueError(f"'x' must have shape (B, k, {n}), got {tuple(x.shape)}")
    units = representation.units().to(x)
    with torch.no_grad():
        out = function(x).reshape(len(x), -1)
    if representation.y_type == "vectors" and out.size(1) % n:
        raise ValueError(
            f"'function' must give vectors (B, l, {n}), as the representation says, "
            f"got {out.size(1)} numbers for each point"
        )

    def single(point: Tensor) -> Tensor:
        return function(point.unsqueeze(0)).flatten()

    slopes = vmap(jacrev(single), chunk_size=256)(x)  # (B, outputs, k, n)
    rows = torch.einsum("boki,mij,bkj->bom", slopes, units, x)
    points = x.flatten(0, 1)
    if representation.y_type == "vectors":
        y = out.view(len(x), -1, n)
        rows = rows - torch.einsum("mij,blj->blim", units, y).flatten(1, 2)
        points = torch.cat([points, y.flatten(0, 1)])
    rows = rows.flatten(0, 1).double()
    if not bool(rows.isfinite().all()) or not bool(rows.any()):
        raise ValueError("the gradients of the function are 0, infinite or NaN")
    # Combinations that do something to the data.
    acting = (units.double() @ seen_span(points, n)).flatten(1)
    left, size, _ = torch.linalg.svd(acting, full_matrices=False)
    left = left[:, size > 1e-6 * size[0]]
    _, values, right = torch.linalg.svd(rows @ left, full_matrices=False)
    if len(right) < left.size(1):
        raise ValueError(
            f"{len(rows)} equations do not settle {left.size(1)} entries: give more "
            "points"
        )
    found = torch.einsum("cm,mij->cij", right.flip(0) @ left.t(), units.double())
    return NullSpace(found, values.flip(0) / values[0])


class GradientNullSpace(DiscoveryMethod):
    r"""Trains a predictor of :math:`y` and finds the generators that it keeps, by
    :func:`gradient_null_space`: no adversary, nothing that collapses, and symmetries of
    the function whatever the distribution of :math:`x`.

    Args:
        representation: How the group acts on the pairs.
        num_channels: The number of generators. By default those before the largest
            ratio of one residual to the next.
        hidden_channels: Width of the predictor.
        num_points: Training pairs at which gradients are taken, at the most.

    Raises:
        ValueError: If an argument is out of range.
    """

    draws = False

    def __init__(
        self,
        representation: Representation,
        num_channels: int | None = None,
        hidden_channels: int = 256,
        num_points: int = 2000,
    ) -> None:
        super().__init__(representation)
        self.num_channels = num_channels
        if num_channels is not None:
            positive(num_channels, "num_channels")
        self.num_points = positive(num_points, "num_points")
        self.predictor = Predictor(representation, hidden_channels, "silu")

    def players(self) -> list[Player]:
        return [Player("loss", self.predictor.loss, list(self.parameters()))]

    def null_space(self, x: Tensor) -> NullSpace:
        """The generators in the order of how well the predictor keeps them."""
        x = x[: self.num_points].to(next(self.parameters()))
        return gradient_null_space(self.predictor, x, self.representation)

    def find_basis(self, x: Tensor, y: Tensor) -> Tensor:
        found = self.null_space(x)
        number = self.num_channels
        if number is None:
            steps = found.residuals.clamp(min=1e-12).log().diff()
            number = int(steps.argmax()) + 1 if len(steps) else 1
        return found.generators[:number]
