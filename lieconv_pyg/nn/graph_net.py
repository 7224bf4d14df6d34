import math
from typing import Optional

import torch
from torch import Tensor
from torch_geometric.nn import BatchNorm, MetaLayer
from torch_geometric.nn.models.schnet import GaussianSmearing
from torch_geometric.utils import scatter

from lieconv_pyg.neighbors.layout import example_pairs


def mlp(in_channels: int, out_channels: int) -> torch.nn.Sequential:
    """Linear, batch norm, SiLU, linear."""
    return torch.nn.Sequential(
        torch.nn.Linear(in_channels, out_channels),
        BatchNorm(out_channels, allow_single_element=True),
        torch.nn.SiLU(),
        torch.nn.Linear(out_channels, out_channels),
    )


def check_pool_and_cutoff(pool: str, cutoff: Optional[float]) -> None:
    """Raises a :class:`ValueError` for arguments that no network of atoms takes."""
    if pool not in ("mean", "sum"):
        raise ValueError(f"'pool' must be 'mean' or 'sum' (got {pool!r})")
    if cutoff is not None and not cutoff > 0:
        raise ValueError(f"'cutoff' must be positive or None (got {cutoff})")


class EdgeUpdate(torch.nn.Module):
    """Updates an edge from its two atoms, itself and the molecule."""

    def __init__(self, channels: int):
        super().__init__()
        self.mlp = mlp(4 * channels, channels)

    def forward(
        self, src: Tensor, dst: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor
    ) -> Tensor:
        """Returns the new edge features :math:`(E, F)`."""
        return edge_attr + self.mlp(torch.cat([src, dst, edge_attr, u[batch]], 1))


class NodeUpdate(torch.nn.Module):
    """Updates an atom from the sum of its edges, itself and the molecule."""

    def __init__(self, channels: int):
        super().__init__()
        self.gate = torch.nn.Linear(channels, channels)
        self.mlp = mlp(3 * channels, channels)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor
    ) -> Tensor:
        """Returns the new atom features :math:`(N, F)`."""
        message = edge_attr * self.gate(edge_attr).sigmoid()
        total = scatter(message, edge_index[1], 0, x.size(0), "sum")
        return x + self.mlp(torch.cat([x, total, u[batch]], 1))


class GlobalUpdate(torch.nn.Module):
    """Updates a molecule from the mean of its atoms and itself."""

    def __init__(self, channels: int):
        super().__init__()
        self.mlp = mlp(2 * channels, channels)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Tensor, batch: Tensor
    ) -> Tensor:
        """Returns the new molecule features :math:`(B, F)`."""
        mean = scatter(x, batch, 0, u.size(0), "mean")
        return u + self.mlp(torch.cat([mean, u], 1))


class GraphNet(torch.nn.Module):
    r"""The graph network of `"Relational Inductive Biases, Deep Learning, and Graph
    Networks" <https://arxiv.org/abs/1806.01261>`_ on molecules, with edge, node and
    global updates in PyG's :class:`~torch_geometric.nn.MetaLayer`.

    It sees distances only (in a basis of Gaussians), hence is invariant to rotations,
    translations and reflections: a baseline for
    :class:`~lieconv_pyg.nn.MoleculeLieResNet`, with the same call. Any element may
    occur.

    Args:
        out_channels (int, optional): Outputs of each molecule. (default: :obj:`1`)
        hidden_channels (int, optional): Width. (default: :obj:`128`)
        num_layers (int, optional): Number of updates. (default: :obj:`4`)
        cutoff (float, optional): Distance, in the unit of the positions, up to which
            atoms are joined; :obj:`None` joins all atoms of a molecule.
            (default: :obj:`None`)
        num_basis (int, optional): Number of Gaussians. (default: :obj:`50`)
        basis_stop (float, optional): The last Gaussian's centre.
            (default: :obj:`10.0`)
        pool (str, optional): :obj:`"mean"` of the atoms' outputs, or :obj:`"sum"`,
            for extensive targets. (default: :obj:`"mean"`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`, batch vector
          :math:`(N)` *(optional)*
        - **output:** :math:`(B, F_{out})`

    Raises:
        ValueError: If a size is not positive, or :obj:`pool` is unknown.
    """

    def __init__(
        self,
        out_channels: int = 1,
        hidden_channels: int = 128,
        num_layers: int = 4,
        cutoff: Optional[float] = None,
        num_basis: int = 50,
        basis_stop: float = 10.0,
        pool: str = "mean",
    ):
        super().__init__()
        check_pool_and_cutoff(pool, cutoff)
        if min(hidden_channels, num_layers, out_channels, num_basis - 1) < 1:
            raise ValueError(
                "'hidden_channels', 'num_layers' and 'out_channels' must be at least "
                "1, 'num_basis' at least 2"
            )
        if not 0 < basis_stop < math.inf:
            raise ValueError(f"'basis_stop' must be positive (got {basis_stop})")
        self.num_layers = num_layers
        self.cutoff = cutoff
        self.pool = pool
        self.embedding = torch.nn.Embedding(119, hidden_channels, padding_idx=0)
        self.basis = GaussianSmearing(0.0, basis_stop, num_basis)
        self.lin_edge = torch.nn.Linear(num_basis, hidden_channels)
        self.first = torch.nn.Parameter(torch.empty(1, hidden_channels))
        self.layers = torch.nn.ModuleList(
            MetaLayer(
                EdgeUpdate(hidden_channels),
                NodeUpdate(hidden_channels),
                GlobalUpdate(hidden_channels),
            )
            for _ in range(num_layers)
        )
        self.readout = torch.nn.Sequential(
            torch.nn.Linear(2 * hidden_channels, hidden_channels),
            torch.nn.SiLU(),
            torch.nn.Linear(hidden_channels, out_channels),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in self.modules():
            if isinstance(module, (torch.nn.Linear, BatchNorm)):
                module.reset_parameters()
        self.embedding.reset_parameters()
        torch.nn.init.zeros_(self.first)

    def forward(self, z: Tensor, pos: Tensor, batch: Optional[Tensor] = None) -> Tensor:
        r"""Applies the network.

        Args:
            z: Atomic numbers :math:`(N)`.
            pos: Positions :math:`(N, 3)`.
            batch: Batch vector :math:`(N)`, sorted.
        """
        if batch is None:
            batch = torch.zeros_like(z)
        batch_size = int(batch[-1]) + 1
        edge_index = example_pairs(batch)
        square = (pos[edge_index[0]] - pos[edge_index[1]]).square().sum(1)
        distance = square.clamp(min=1e-12).sqrt()  # finite gradient at coincident atoms
        if self.cutoff is not None:
            near = distance < self.cutoff
            edge_index, distance = edge_index[:, near], distance[near]
        x = self.embedding(z)
        edge_attr = self.lin_edge(self.basis(distance))
        u = self.first.expand(batch_size, -1)
        for layer in self.layers:
            x, edge_attr, u = layer(x, edge_index, edge_attr, u, batch)
        out = self.readout(torch.cat([x, u[batch]], dim=1))
        return scatter(out, batch, 0, batch_size, self.pool)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(hidden_channels={self.first.size(1)}, "
            f"num_layers={self.num_layers})"
        )
