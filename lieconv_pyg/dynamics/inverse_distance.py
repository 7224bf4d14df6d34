"""Particles that attract or repel each other by the inverse of their distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.system import System, check_apart
from lieconv_pyg.neighbors.layout import example_pairs


class InverseDistance(System):
    r"""The potential

    .. math::
        V = s \sum_{i < j} \frac{c_i c_j}{\sqrt{\| q_i - q_j \|^2 + \epsilon^2}}

    of charges :math:`c`, the last of the parameters, with the strength :math:`s` and
    the softening :math:`\epsilon`.
    """

    translations = True
    rotations = True

    def __init__(
        self,
        space_dim: int,
        num_particles: int | Sequence[int],
        strength: float,
        softening: float,
    ) -> None:
        super().__init__(space_dim, num_particles)
        if not 0 <= softening < math.inf:
            raise ValueError(f"'softening' must be at least 0 (got {softening})")
        self.strength = strength
        self.softening = softening

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        j, i = example_pairs(batch)
        square = (pos[i] - pos[j]).square().sum(1) + self.softening**2
        energy = x[i, -1] * x[j, -1] * square.rsqrt()
        return self.strength / 2 * scatter(energy, batch[i], 0, batch_size, "sum")

    def force(self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        j, i = example_pairs(batch)
        offset = pos[i] - pos[j]
        square = offset.square().sum(1, keepdim=True) + self.softening**2
        pull = x[i, -1:] * x[j, -1:] * square.rsqrt() ** 3 * offset
        return self.strength * scatter(pull, i, 0, pos.size(0), "sum")

    def check(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor | None = None
    ) -> Tensor:
        batch = super().check(x, pos, momentum, batch)
        if self.softening == 0:
            check_apart(pos, batch)
        return batch

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "softening": self.softening}


class Gravity(InverseDistance):
    r"""A star and its planets, or any bodies that attract each other:

    .. math::
        V = - \sum_{i < j} \frac{m_i m_j}{\sqrt{\| q_i - q_j \|^2 + \epsilon^2}}

    in units with a gravitational constant of 1. The only parameter is the mass. Systems
    that are drawn have a star of mass 32 and planets of masses between 0.02 and 0.2, on
    orbits that would be circles without the other planets, of radii spread from 0.5 to
    4, any way round and in any plane, in a random order. Their total momentum is 0.

    Args:
        space_dim (int, optional): Dimension of space, 2 or 3. (default: :obj:`3`)
        num_particles (int or Sequence[int], optional): As for
            :class:`~lieconv_pyg.dynamics.System`, the star included.
            (default: :obj:`6`)
        softening (float, optional): The length :math:`\epsilon`. (default: :obj:`0`)
    """

    num_states = 200

    def __init__(
        self,
        space_dim: int = 3,
        num_particles: int | Sequence[int] = 6,
        softening: float = 0.0,
    ) -> None:
        super().__init__(space_dim, num_particles, -1.0, softening)
        if self.space_dim not in (2, 3):
            raise ValueError(f"'space_dim' must be 2 or 3 (got {space_dim})")

    def draw(
        self, num_particles: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        like: dict[str, Any] = {"generator": generator, "dtype": torch.double}
        planets = num_particles - 1
        mass = torch.cat(
            [torch.full((1,), 32.0), 0.02 + 0.18 * torch.rand(planets, **like)]
        )
        gap = 3.5 / max(planets, 1)
        radius = torch.linspace(0.5, 4.0, planets, dtype=torch.double)
        radius = radius + 0.3 * gap * (torch.rand(planets, **like) - 0.5)
        outward = torch.randn(planets, self.space_dim, **like)
        outward = outward / outward.norm(dim=1, keepdim=True)
        along = torch.randn(planets, self.space_dim, **like)
        along = along - (along * outward).sum(1, keepdim=True) * outward
        along = along / along.norm(dim=1, keepdim=True)
        start = torch.zeros(1, self.space_dim, dtype=torch.double)
        pos = torch.cat([start, radius.unsqueeze(1) * outward])
        speed = (32.0 / radius).sqrt().unsqueeze(1)
        velocity = torch.cat([start, speed * along])
        velocity = velocity - (mass.unsqueeze(1) * velocity).sum(0) / mass.sum()
        order = torch.randperm(num_particles, generator=generator)
        mass, pos, velocity = mass[order].unsqueeze(1), pos[order], velocity[order]
        return mass, pos, mass * velocity


class Charges(InverseDistance):
    r"""Charged particles of mass 1, in free space, as in `"E(n) Equivariant Graph
    Neural Networks" <https://arxiv.org/abs/2102.09844>`_ (Section 5.1):

    .. math::
        V = \sum_{i < j} \frac{c_i c_j}{\sqrt{\| q_i - q_j \|^2 + \epsilon^2}}

    Parameters are mass and charge. Charges are drawn from :math:`\pm 1`, positions from
    :math:`N(0, 1)`, velocities with a length of 0.5 in any direction, less their mean.
    The softening takes the place of the bound on forces in the benchmark's simulation,
    which has no Hamiltonian.

    Args:
        space_dim (int, optional): Dimension of space. (default: :obj:`3`)
        num_particles (int or Sequence[int], optional): As for
            :class:`~lieconv_pyg.dynamics.System`. (default: :obj:`5`)
        softening (float, optional): The length :math:`\epsilon`.
            (default: :obj:`0.1`)
    """

    param_names = ("mass", "charge")

    def __init__(
        self,
        space_dim: int = 3,
        num_particles: int | Sequence[int] = 5,
        softening: float = 0.1,
    ) -> None:
        super().__init__(space_dim, num_particles, 1.0, softening)

    def draw(
        self, num_particles: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        like: dict[str, Any] = {"generator": generator, "dtype": torch.double}
        charge = 2.0 * torch.randint(2, (num_particles,), **like) - 1
        pos = torch.randn(num_particles, self.space_dim, **like)
        velocity = torch.randn(num_particles, self.space_dim, **like)
        velocity = 0.5 * velocity / velocity.norm(dim=1, keepdim=True)
        x = torch.stack([torch.ones_like(charge), charge], dim=1)
        return x, pos, velocity - velocity.mean(0)
