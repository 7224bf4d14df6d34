"""Fully connected networks for dynamics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from lieconv_pyg.dynamics.hamiltonian import Dynamics, SeparableDynamics
from lieconv_pyg.groups.checks import positive


class _FullyConnected(torch.nn.Module):
    """An MLP on all numbers of a system, one particle after the other."""

    def __init__(
        self,
        width: int,
        out_width: int,
        num_particles: int,
        hidden_channels: int,
        num_layers: int,
        center: bool,
    ) -> None:
        super().__init__()
        positive(num_layers, "num_layers")
        hidden = [positive(hidden_channels, "hidden_channels")] * num_layers
        channels = [num_particles * width, *hidden, out_width]
        self.num_particles = num_particles
        self.center = center
        self.mlp = MLP(channels, act="silu", norm=None)

    def forward(self, pos: Tensor, *others: Tensor, batch_size: int) -> Tensor:
        """The outputs :math:`(B, F)` of systems."""
        if pos.size(0) != batch_size * self.num_particles:
            raise ValueError(
                f"the network was built for systems of {self.num_particles} particles "
                f"(got {pos.size(0)} particles in {batch_size} systems)"
            )
        q = pos.view(batch_size, self.num_particles, -1)
        if self.center:
            q = q - q.mean(1, keepdim=True)
        parts = (v.reshape(batch_size, self.num_particles, -1) for v in others)
        return self.mlp(torch.cat([q, *parts], dim=2).flatten(1))


class FC(Dynamics):
    r"""A fully connected network that gives the derivatives of positions and momenta
    of systems with a fixed number of particles, the simplest baseline of `LieConv
    <https://arxiv.org/abs/2002.12880>`_ (Section 6.3).

    Args:
        num_particles (int, optional): Particles of each system. (default: :obj:`6`)
        space_dim (int, optional): Dimension of space. (default: :obj:`2`)
        num_params (int, optional): Parameters of each particle. (default: :obj:`2`)
        hidden_channels (int, optional): Width. (default: :obj:`256`)
        num_layers (int, optional): Number of hidden layers. (default: :obj:`4`)
        center (bool, optional): Whether the mean of the positions is subtracted.
            (default: :obj:`True`)
    """

    def __init__(
        self,
        num_particles: int = 6,
        space_dim: int = 2,
        num_params: int = 2,
        hidden_channels: int = 256,
        num_layers: int = 4,
        center: bool = True,
    ) -> None:
        super().__init__()
        self.num_particles = positive(num_particles, "num_particles")
        self.space_dim = positive(space_dim, "space_dim")
        self.num_params = positive(num_params, "num_params")
        width, out_width = 2 * space_dim + num_params, 2 * space_dim * num_particles
        rest = num_particles, hidden_channels, num_layers, center
        self.net = _FullyConnected(width, out_width, *rest)

    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        out = self.net(pos, momentum, x, batch_size=batch_size)
        dq, dp = out.view(pos.size(0), 2, -1).unbind(1)
        return dq, dp

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_particles={self.num_particles})"


class HFC(SeparableDynamics):
    r"""Kinetic energy plus a potential that is a fully connected network, a baseline
    of `LieConv <https://arxiv.org/abs/2002.12880>`_ (Section 6.3) and an example of
    `"Hamiltonian Neural Networks" <https://arxiv.org/abs/1906.01563>`_. Arguments are
    those of :class:`FC`.
    """

    def __init__(
        self,
        num_particles: int = 6,
        space_dim: int = 2,
        num_params: int = 2,
        hidden_channels: int = 256,
        num_layers: int = 4,
        center: bool = True,
    ) -> None:
        super().__init__()
        self.num_particles = positive(num_particles, "num_particles")
        self.space_dim = positive(space_dim, "space_dim")
        self.num_params = positive(num_params, "num_params")
        rest = num_particles, hidden_channels, num_layers, center
        self.net = _FullyConnected(space_dim + num_params, 1, *rest)

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        return self.net(pos, x, batch_size=batch_size).squeeze(1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_particles={self.num_particles})"
