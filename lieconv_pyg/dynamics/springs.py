"""Particles joined by springs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.system import System


class Springs(System):
    r"""Particles, every two joined by a spring of length 0, from `"Generalizing
    Convolutional Neural Networks for Equivariance to Lie Groups on Arbitrary Continuous
    Data" <https://arxiv.org/abs/2002.12880>`_ (Section 6.3 and Appendix A.4):

    .. math::
        V = \frac 1 2 \sum_{i, j} k_i k_j \| q_i - q_j \|^2

    over all ordered pairs. Parameters are mass and spring parameter :math:`k`. Masses
    are drawn from :math:`3 \, U(0, 1) + 0.1`, :math:`k` from :math:`5 \, U(0, 1)`,
    positions from :math:`0.4 \, N(0, 1)`, momenta from :math:`0.6 \, N(0, 1)`.

    Args:
        space_dim (int, optional): Dimension of space. (default: :obj:`2`)
        num_particles (int or Sequence[int], optional): As for
            :class:`~lieconv_pyg.dynamics.System`. (default: :obj:`6`)
        center_momenta (str, optional): :obj:`"particles"`: the mean over the particles
            of a system is subtracted, so that its total momentum is 0;
            :obj:`"systems"`: the mean over all systems is, for each particle, as in the
            authors' code; or :obj:`None`. (default: :obj:`"particles"`)
    """

    param_names = ("mass", "stiffness")
    translations = True
    rotations = True

    def __init__(
        self,
        space_dim: int = 2,
        num_particles: int | Sequence[int] = 6,
        center_momenta: Literal["particles", "systems"] | None = "particles",
    ) -> None:
        super().__init__(space_dim, num_particles)
        if center_momenta not in ("particles", "systems", None):
            raise ValueError(
                "'center_momenta' must be 'particles', 'systems' or None (got "
                f"{center_momenta!r})"
            )
        if center_momenta == "systems" and len(self.sizes) > 1:
            raise ValueError(
                "'center_momenta=\"systems\"' needs systems of the same number of "
                f"particles (got {self.sizes})"
            )
        self.center_momenta = center_momenta

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        # The sum over pairs is K sum_i k_i |q_i - c|^2, with K = sum k and c the mean
        # of the positions by the weights k.
        k, total, offset = self._about_center(x, pos, batch, batch_size)
        return total * scatter(k * offset.square().sum(1), batch, 0, batch_size, "sum")

    def force(self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        k, total, offset = self._about_center(x, pos, batch, batch_size)
        return -2 * (k * total[batch]).unsqueeze(1) * offset

    @staticmethod
    def _about_center(
        x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        k = x[:, 1]
        total = scatter(k, batch, 0, batch_size, "sum")
        weighted = scatter(k.unsqueeze(1) * pos, batch, 0, batch_size, "sum")
        tiny = torch.finfo(k.dtype).tiny
        center = weighted / total.clamp(min=tiny).unsqueeze(1)
        return k, total, pos - center[batch]

    def draw(
        self, num_particles: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        like: dict[str, Any] = {"generator": generator, "dtype": torch.double}
        mass = 3 * torch.rand(num_particles, **like) + 0.1
        stiffness = 5 * torch.rand(num_particles, **like)
        pos = 0.4 * torch.randn(num_particles, self.space_dim, **like)
        momentum = 0.6 * torch.randn(num_particles, self.space_dim, **like)
        if self.center_momenta == "particles":
            momentum = momentum - momentum.mean(0)
        return torch.stack([mass, stiffness], dim=1), pos, momentum

    def sample(self, num_systems: int, seed: int = 0, stream: int = 0) -> list[Data]:
        found = super().sample(num_systems, seed, stream)
        if self.center_momenta == "systems":
            mean = torch.stack([data.momentum for data in found]).mean(0)
            for data in found:
                data.momentum = data.momentum - mean
        return found

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "center_momenta": self.center_momenta}
