from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn import Linear, Sequential, SiLU
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import reset
from torch_geometric.utils import scatter

from lieconv_pyg.groups.checks import positive
from lieconv_pyg.neighbors.envelope import PolynomialEnvelope
from lieconv_pyg.neighbors.layout import example_pairs
from lieconv_pyg.nn.graph_net import check_pool_and_cutoff


class EGNNConv(MessagePassing):
    r"""The equivariant graph convolution of `"E(n) Equivariant Graph Neural Networks"
    <https://arxiv.org/abs/2102.09844>`_ (Satorras, Hoogeboom, Welling, ICML 2021).

    .. math::
        \mathbf{m}_{ij} &= \phi_e(\mathbf{h}_i, \mathbf{h}_j,
        \| \mathbf{x}_i - \mathbf{x}_j \|^2, \mathbf{a}_{ij})

        \mathbf{x}_i' &= \mathbf{x}_i + \frac{1}{n_i} \sum_{j \in \mathcal{N}(i)}
        w_{ij} \, (\mathbf{x}_i - \mathbf{x}_j) \, \phi_x(\mathbf{m}_{ij})

        \mathbf{m}_i &= \sum_{j \in \mathcal{N}(i)} w_{ij} \, e_{ij} \, \mathbf{m}_{ij},
        \qquad e_{ij} = \sigma(\mathbf{w}^\top \mathbf{m}_{ij} + b)

        \mathbf{h}_i' &= \mathbf{h}_i + \phi_h(\mathbf{h}_i, \mathbf{m}_i)

    (Equations 3 to 6 and 8 of the paper), where :math:`\phi_e, \phi_x, \phi_h` are MLPs
    with one hidden layer. The weights :math:`w_{ij}`, by default 1, are an addition:
    they let a neighborhood end smoothly. :math:`n_i` is their sum, and at least 1; for
    all pairs of :math:`M` points it is the paper's :math:`M - 1`. Features are
    invariant to rotations, translations and reflections, positions equivariant.

    Args:
        in_channels (int): Channels of each point, in and out.
        hidden_channels (int, optional): Channels of the messages and of the hidden
            layers. (default: :obj:`in_channels`)
        edge_dim (int, optional): Channels of the edge features. (default: :obj:`0`)
        attention (bool, optional): If :obj:`False`, :math:`e_{ij} = 1`.
            (default: :obj:`True`)
        update_pos (bool, optional): Whether positions change. (default: :obj:`False`)

    Shapes:
        - **input:** features :math:`(N, F)`, positions :math:`(N, D)`, edge indices
          :math:`(2, E)`, edge features :math:`(E, F_e)` *(optional)*, edge weights
          :math:`(E)` *(optional)*
        - **output:** features :math:`(N, F)`, positions :math:`(N, D)`

    Raises:
        ValueError: If a size is out of range, or edge features do not fit.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Optional[int] = None,
        edge_dim: int = 0,
        attention: bool = True,
        update_pos: bool = False,
        **kwargs: Any,
    ):
        super().__init__(aggr="sum", **kwargs)
        width = in_channels if hidden_channels is None else hidden_channels
        self.in_channels = positive(in_channels, "in_channels")
        self.hidden_channels = positive(width, "hidden_channels")
        if edge_dim < 0:
            raise ValueError(f"'edge_dim' must not be negative (got {edge_dim})")
        self.edge_dim = edge_dim
        self.edge_mlp = Sequential(
            Linear(2 * in_channels + 1 + edge_dim, width),
            SiLU(),
            Linear(width, width),
            SiLU(),
        )
        self.node_mlp = Sequential(
            Linear(in_channels + width, width), SiLU(), Linear(width, in_channels)
        )
        self.gate = Linear(width, 1) if attention else None
        self.pos_mlp = None
        if update_pos:
            self.pos_mlp = Sequential(
                Linear(width, width), SiLU(), Linear(width, 1, bias=False)
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        super().reset_parameters()
        for module in (self.edge_mlp, self.node_mlp, self.gate, self.pos_mlp):
            reset(module)
        if self.pos_mlp is not None:
            # Small steps at first: positions that run away do not come back.
            (weight,) = self.pos_mlp[-1].parameters()
            torch.nn.init.xavier_uniform_(weight, gain=1e-3)

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        edge_attr: Optional[Tensor] = None,
        edge_weight: Optional[Tensor] = None,
    ) -> tuple[Tensor, Tensor]:
        r"""Updates features and positions.

        Args:
            x: Features :math:`(N, F)`.
            pos: Positions :math:`(N, D)`.
            edge_index: :math:`(2, E)`, sources :math:`j` first.
            edge_attr: Edge features :math:`(E, F_e)`.
            edge_weight: The weights :math:`w_{ij}`, :math:`(E)`.
        """
        given = 0 if edge_attr is None else edge_attr.size(-1)
        if given != self.edge_dim:
            raise ValueError(
                f"'edge_attr' has {given} channels where the layer was built for "
                f"'edge_dim={self.edge_dim}'"
            )
        out = self.propagate(
            edge_index, x=x, pos=pos, edge_attr=edge_attr, edge_weight=edge_weight
        )
        message = out[:, : self.hidden_channels]
        if self.pos_mlp is not None:
            shift, total = out[:, self.hidden_channels : -1], out[:, -1:]
            pos = pos + shift / total.clamp(min=1)
        return x + self.node_mlp(torch.cat([x, message], dim=1)), pos

    def message(
        self,
        x_i: Tensor,
        x_j: Tensor,
        pos_i: Tensor,
        pos_j: Tensor,
        edge_attr: Optional[Tensor],
        edge_weight: Optional[Tensor],
    ) -> Tensor:
        """The weighted message of an edge; if positions are updated, with the target's
        shift and the weight itself behind it."""
        offset = pos_i - pos_j
        square = offset.square().sum(dim=1, keepdim=True)
        inputs = [x_i, x_j, square]
        if edge_attr is not None:
            inputs.append(edge_attr)
        message = self.edge_mlp(torch.cat(inputs, dim=1))
        out = message if self.gate is None else message * self.gate(message).sigmoid()
        if self.pos_mlp is not None:
            shift = offset * self.pos_mlp(message)
            out = torch.cat([out, shift, torch.ones_like(square)], dim=1)
        return out if edge_weight is None else out * edge_weight.unsqueeze(1)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, "
            f"hidden_channels={self.hidden_channels})"
        )


class EGNN(torch.nn.Module):
    r"""The network of `"E(n) Equivariant Graph Neural Networks"
    <https://arxiv.org/abs/2102.09844>`_ for properties of molecules: an embedding of
    the elements, :class:`EGNNConv` with attention and without a change of positions,
    and an MLP.

    It is invariant to rotations, translations and reflections: a baseline for
    :class:`~lieconv_pyg.nn.MoleculeLieResNet`, with the same call. Any element may
    occur. It differs from the published network in two points:

    * The paper adds up the atoms before the last MLP. Here that MLP acts on each atom,
      and its outputs are added, so that with :obj:`pool="sum"` and a :obj:`cutoff` the
      output for two molecules far from each other is the sum of their outputs, as an
      energy must be.
    * With a :obj:`cutoff`, which the paper does not have for molecules, messages end
      smoothly in a :class:`~lieconv_pyg.neighbors.PolynomialEnvelope`.

    The output is twice continuously differentiable in the positions.

    Args:
        out_channels (int, optional): Outputs of each molecule. (default: :obj:`1`)
        hidden_channels (int, optional): Width. (default: :obj:`128`)
        num_layers (int, optional): Number of layers. (default: :obj:`7`)
        cutoff (float, optional): Distance, in the unit of the positions, up to which
            atoms are joined; :obj:`None` joins all atoms of a molecule.
            (default: :obj:`None`)
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
        num_layers: int = 7,
        cutoff: Optional[float] = None,
        pool: str = "mean",
    ):
        super().__init__()
        check_pool_and_cutoff(pool, cutoff)
        positive(out_channels, "out_channels")
        self.hidden_channels = positive(hidden_channels, "hidden_channels")
        self.num_layers = positive(num_layers, "num_layers")
        self.cutoff = cutoff
        self.pool = pool
        self.embedding = torch.nn.Embedding(119, hidden_channels, padding_idx=0)
        self.envelope = PolynomialEnvelope()
        self.layers = torch.nn.ModuleList(
            EGNNConv(hidden_channels) for _ in range(num_layers)
        )
        # The paper's node decoder and graph decoder, whose linear maps that follow on
        # each other are one.
        self.readout = Sequential(
            Linear(hidden_channels, hidden_channels),
            SiLU(),
            Linear(hidden_channels, hidden_channels),
            SiLU(),
            Linear(hidden_channels, out_channels),
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.embedding.reset_parameters()
        for module in (self.layers, self.readout):
            reset(module)

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
        weight = None
        if self.cutoff is not None:
            square = (pos[edge_index[0]] - pos[edge_index[1]]).square().sum(1)
            near = square < self.cutoff**2
            edge_index = edge_index[:, near]
            # The clamp: finite gradients at coincident atoms.
            distance = square[near].clamp(min=1e-12).sqrt()
            weight = self.envelope(distance / self.cutoff)
        x = self.embedding(z)
        for layer in self.layers:
            x, _ = layer(x, pos, edge_index, edge_weight=weight)
        return scatter(self.readout(x), batch, 0, batch_size, self.pool)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(hidden_channels={self.hidden_channels}, "
            f"num_layers={self.num_layers})"
        )
