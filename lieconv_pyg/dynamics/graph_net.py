"""Graph networks for dynamics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Linear, Sequential, SiLU
from torch_geometric.nn import MetaLayer
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.hamiltonian import (
    Dynamics,
    HamiltonianDynamics,
    SeparableDynamics,
)
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.neighbors.layout import example_pairs


def _mlp(in_channels: int, channels: int) -> Sequential:
    return Sequential(
        Linear(in_channels, channels), SiLU(), Linear(channels, channels), SiLU()
    )


class _Edge(torch.nn.Module):
    def __init__(self, node: int, edge: int, out: int) -> None:
        super().__init__()
        self.mlp = _mlp(2 * node + 2 * edge, out)

    def forward(
        self, src: Tensor, dst: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor
    ) -> Tensor:
        return self.mlp(torch.cat([src, dst, edge_attr, u[batch]], dim=1))


class _Node(torch.nn.Module):
    def __init__(self, node: int, edge: int, out: int) -> None:
        super().__init__()
        self.mlp = _mlp(node + out + edge, out)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor
    ) -> Tensor:
        total = scatter(edge_attr, edge_index[1], 0, x.size(0), "sum")
        return self.mlp(torch.cat([x, total, u[batch]], dim=1))


class _Global(torch.nn.Module):
    def __init__(self, edge: int, out: int) -> None:
        super().__init__()
        self.mlp = _mlp(edge + 2 * out, out)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor
    ) -> Tensor:
        edges = scatter(edge_attr, batch[edge_index[1]], 0, u.size(0), "sum")
        nodes = scatter(x, batch, 0, u.size(0), "sum")
        return self.mlp(torch.cat([u, edges, nodes], dim=1))


class GraphNetwork(torch.nn.Module):
    r"""The graph network of `"Relational Inductive Biases, Deep Learning, and Graph
    Networks" <https://arxiv.org/abs/1806.01261>`_ on all pairs of particles of a
    system, with updates of edges, nodes and the whole, all by sums.

    Args:
        in_channels (int): Features of each particle.
        hidden_channels (int): Width.
        num_layers (int): Number of updates.
        whole (bool, optional): Whether the last update is also one of the whole.
            (default: :obj:`True`)

    Shapes:
        - **input:** features :math:`(N, F)`, batch vector :math:`(N)`
        - **output:** features of particles :math:`(N, F')` and systems
          :math:`(B, F')`
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        whole: bool = True,
    ) -> None:
        super().__init__()
        width = positive(hidden_channels, "hidden_channels")
        positive(num_layers, "num_layers")
        sizes = [(in_channels, 1), *[(width, width)] * (num_layers - 1)]
        self.layers = torch.nn.ModuleList(
            MetaLayer(
                _Edge(n, e, width),
                _Node(n, e, width),
                _Global(e, width) if whole or number < num_layers else None,
            )
            for number, (n, e) in enumerate(sizes, start=1)
        )

    def forward(
        self, x: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Applies the network."""
        edge_index = example_pairs(batch, self_pairs=True)
        edge_attr = x.new_ones(edge_index.size(1), 1)
        u = x.new_ones(batch_size, 1)
        for layer in self.layers:
            x, edge_attr, u = layer(x, edge_index, edge_attr, u, batch)
        return x, u


class _GraphDynamics(Dynamics):
    """A graph network with a linear map of what particles, or whole systems, have."""

    #: Whether momenta are inputs.
    sees_momenta = True
    #: Whether it gives an energy of each system, and not derivatives of each particle.
    gives_energy = True

    def __init__(
        self,
        space_dim: int = 2,
        num_params: int = 2,
        hidden_channels: int = 256,
        num_layers: int = 1,
        center: bool = True,
    ) -> None:
        super().__init__(space_dim, num_params, center=center)
        in_channels = (1 + self.sees_momenta) * space_dim + num_params
        whole = self.gives_energy
        self.net = GraphNetwork(in_channels, hidden_channels, num_layers, whole)
        self.lin = Linear(hidden_channels, 1 if whole else 2 * space_dim)

    def _outputs(
        self, pos: Tensor, *others: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        """Energies :math:`(B)`, or derivatives :math:`(N, 2 d)`."""
        parts = [self.centered(pos, batch, batch_size), *others]
        h, u = self.net(torch.cat(parts, dim=1), batch, batch_size)
        return self.lin(u).squeeze(1) if self.gives_energy else self.lin(h)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(space_dim={self.space_dim})"


class OGN(_GraphDynamics):
    r"""The ODE graph network of `"Hamiltonian Graph Networks with ODE Integrators"
    <https://arxiv.org/abs/1909.12790>`_: a graph network that gives the derivatives of
    positions and momenta.

    Args:
        space_dim (int, optional): Dimension of space. (default: :obj:`2`)
        num_params (int, optional): Parameters of each particle. (default: :obj:`2`)
        hidden_channels (int, optional): Width. (default: :obj:`256`)
        num_layers (int, optional): Number of updates. (default: :obj:`1`)
        center (bool, optional): Whether the mean of the positions is subtracted.
            (default: :obj:`True`)
    """

    gives_energy = False

    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        out = self._outputs(pos, momentum, x, batch=batch, batch_size=batch_size)
        dq, dp = out.chunk(2, dim=1)
        return dq, dp


class HOGN(_GraphDynamics, HamiltonianDynamics):
    r"""The Hamiltonian ODE graph network of `"Hamiltonian Graph Networks with ODE
    Integrators" <https://arxiv.org/abs/1909.12790>`_: a graph network that gives the
    energy :math:`H(q, p)` of a system. Arguments are those of :class:`OGN`.
    """

    def hamiltonian(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        return self._outputs(pos, momentum, x, batch=batch, batch_size=batch_size)


class VOGN(_GraphDynamics, SeparableDynamics):
    r"""Kinetic energy plus a potential :math:`V(q)` by a graph network, as
    :class:`HOGN` has for the whole energy. Arguments are those of :class:`OGN`; the
    published width is 512.
    """

    sees_momenta = False

    def __init__(
        self,
        space_dim: int = 2,
        num_params: int = 2,
        hidden_channels: int = 512,
        num_layers: int = 1,
        center: bool = True,
    ) -> None:
        super().__init__(space_dim, num_params, hidden_channels, num_layers, center)

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        return self._outputs(pos, x, batch=batch, batch_size=batch_size)
