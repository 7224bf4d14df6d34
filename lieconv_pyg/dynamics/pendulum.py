"""A pendulum in the wind."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.system import System
from lieconv_pyg.neighbors.layout import example_pairs

_WIND = (8.0, 5.0, 0.0)


class WindyPendulum(System):
    r"""The double spring pendulum of `"Residual Pathway Priors for Soft Equivariance
    Constraints" <https://arxiv.org/abs/2112.01388>`_ (Finzi, Benton, Wilson, NeurIPS
    2021), whose symmetry of rotations about the vertical a wind breaks:

    .. math::
        V = \tfrac 1 2 (\| q_1 \| - 1)^2 + (\| q_1 - q_2 \| - 1)^2 +
        \sum_i \big( m_i e_z + w \big) \cdot q_i, \qquad w = \epsilon \, (8, 5, 0) .

    The first particle hangs by a spring from the origin, the second one from the first;
    in order not to depend on the order of particles, this is their second parameter,
    1 and 0. So there is no symmetry of translations or of all rotations, and with
    :math:`\epsilon = 0` one of rotations about the third axis.

    Masses are 1; positions are normal with a deviation of 0.2 about
    :math:`(0, 0, -1.5)` and :math:`(0, 0, -3)`, momenta normal with a deviation of 0.4.
    Trajectories are of 150 states in steps of 0.2.

    Args:
        wind (float, optional): The strength :math:`\epsilon`. (default: :obj:`0.01`)
    """

    param_names = ("mass", "anchored")
    step = 0.2
    num_states = 150

    def __init__(self, wind: float = 0.01) -> None:
        super().__init__(3, 2)
        self.num_particles = 2
        if not -math.inf < wind < math.inf:
            raise ValueError(f"'wind' must be a finite number (got {wind})")
        self.wind = float(wind)

    def _weight(self, x: Tensor) -> Tensor:
        """The constant gradient of the potential at each particle, (N, 3)."""
        down = x.new_tensor([0.0, 0.0, 1.0])
        return x[:, :1] * down + self.wind * x.new_tensor(_WIND)

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        j, i = example_pairs(batch)
        apart = (pos[i] - pos[j])[i < j].norm(dim=1)
        own = 0.5 * x[:, 1] * (pos.norm(dim=1) - 1).square()
        own = own + (self._weight(x) * pos).sum(1)
        between = scatter((apart - 1).square(), batch[i[i < j]], 0, batch_size, "sum")
        return scatter(own, batch, 0, batch_size, "sum") + between

    def force(self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        j, i = example_pairs(batch)
        pull = 2 * scatter(_stretch(pos[i] - pos[j]), i, 0, pos.size(0), "sum")
        return -pull - x[:, 1:] * _stretch(pos) - self._weight(x)

    def draw(
        self, num_particles: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        like: dict[str, Any] = {"generator": generator, "dtype": torch.double}
        x = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.double)
        pos = 0.2 * torch.randn(2, 3, **like)
        pos[:, 2] -= torch.tensor([1.5, 3.0], dtype=torch.double)
        return x, pos, 0.4 * torch.randn(2, 3, **like)

    def settings(self) -> dict[str, Any]:
        return {"system": type(self).__name__, "wind": self.wind}


def _stretch(offset: Tensor) -> Tensor:
    """How much longer than 1 vectors are, along them; 0 for those of length 0."""
    length = offset.norm(dim=1, keepdim=True)
    tiny = torch.finfo(offset.dtype).tiny
    return offset * (1 - 1 / length.clamp(min=tiny)) * (length > 0)
