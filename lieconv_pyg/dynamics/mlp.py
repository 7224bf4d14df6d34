"""Fully connected networks for dynamics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from lieconv_pyg.dynamics.hamiltonian import Dynamics, SeparableDynamics
from lieconv_pyg.groups.checks import positive


class _FullyConnected(Dynamics):
    """An MLP on all numbers of a system, one particle after the other."""

    #: Whether it gives an energy, from positions alone, and not derivatives.
    gives_potential = False

    def __init__(
        self,
        num_particles: int = 6,
        space_dim: int = 2,
        num_params: int = 2,
        hidden_channels: int = 256,
        num_layers: int = 4,
        center: bool = True,
    ) -> None:
        super().__init__(
            space_dim, num_params, positive(num_particles, "num_particles"), center
        )
        hidden = [positive(hidden_channels, "hidden_channels")] * positive(
            num_layers, "num_layers"
        )
        vectors = 1 if self.gives_potential else 2
        in_channels = num_particles * (vectors * space_dim + num_params)
        out_channels = 1 if self.gives_potential else 2 * space_dim * num_particles
        self.mlp = MLP([in_channels, *hidden, out_channels], act="silu", norm=None)

    def _outputs(
        self, pos: Tensor, *others: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        """The outputs :math:`(B, F)` of systems."""
        count = torch.bincount(batch, minlength=batch_size)
        wrong = [n for n in count.tolist() if n != self.num_particles]
        if wrong or bool((batch.diff() < 0).any()):
            raise ValueError(
                f"the network was built for systems of {self.num_particles} particles, "
                f"one after the other (got {sorted(set(count.tolist()))})"
            )
        parts = [self.centered(pos, batch, batch_size), *others]
        return self.mlp(torch.cat(parts, dim=1).view(batch_size, -1))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_particles={self.num_particles})"


class FC(_FullyConnected):
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

    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        out = self._outputs(pos, momentum, x, batch=batch, batch_size=batch_size)
        dq, dp = out.view(pos.size(0), 2, -1).unbind(1)
        return dq, dp


class HFC(_FullyConnected, SeparableDynamics):
    r"""Kinetic energy plus a potential that is a fully connected network, a baseline
    of `LieConv <https://arxiv.org/abs/2002.12880>`_ (Section 6.3) and an example of
    `"Hamiltonian Neural Networks" <https://arxiv.org/abs/1906.01563>`_. Arguments are
    those of :class:`FC`.
    """

    gives_potential = True

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        out = self._outputs(pos, x, batch=batch, batch_size=batch_size)
        return out.squeeze(1)
