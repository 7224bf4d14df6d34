"""Networks of PyG for molecules, which need neither pyg-lib nor torch-sparse here."""

from types import FunctionType
from typing import Any, Optional

import torch
import torch_geometric.nn
from torch import Tensor
from torch_geometric.nn.models.schnet import RadiusInteractionGraph

from lieconv_pyg.neighbors.layout import example_pairs


@torch.no_grad()
def radius_graph(
    pos: Tensor, r: float, batch: Tensor, max_num_neighbors: int = 32
) -> Tensor:
    r"""Pairs of different atoms of a molecule nearer to each other than :obj:`r`.

    An atom with more than :obj:`max_num_neighbors` neighbors keeps the nearest; where
    several are equally far, those that come first. (PyG's search keeps any.)

    Args:
        pos: Positions :math:`(N, 3)`.
        r: The radius.
        batch: Molecule of each atom :math:`(N)`, sorted.
        max_num_neighbors: The most neighbors that an atom may have.

    Returns:
        Pairs :math:`(2, E)`, sources first, sorted by target, then by source.
    """
    pairs = example_pairs(batch)
    square = (pos[pairs[0]] - pos[pairs[1]]).square().sum(1)
    near = square < r * r
    pairs, square = pairs[:, near], square[near]
    target = pairs[1]
    order = square.argsort(stable=True)
    order = order[target[order].argsort(stable=True)]
    count = torch.bincount(target, minlength=pos.size(0))
    place = torch.arange(target.numel(), device=pos.device)
    rank = torch.empty_like(target)
    rank[order] = place - (count.cumsum(0) - count)[target]
    return pairs[:, rank < max_num_neighbors]


def triplets(
    edge_index: Tensor, num_nodes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""The pairs of edges :math:`k \to j \to i` with :math:`k \neq i`, in the order of
    PyG's function of this name.

    Args:
        edge_index: :math:`(2, E)`, sources :math:`j` first.
        num_nodes: Number of atoms.

    Returns:
        Of each edge, its target :math:`i` and its source :math:`j`; of each triplet,
        the atoms :math:`i, j, k` and the edges :math:`k \to j` and :math:`j \to i`.
    """
    source, target = edge_index
    by_target = (target * num_nodes + source).argsort()
    count = torch.bincount(target, minlength=num_nodes)
    first = count.cumsum(0) - count
    size = count[source]  # the edges that end where this one begins
    edge = torch.arange(source.numel(), device=source.device)
    ji = edge.repeat_interleave(size)
    start = first[source] - (size.cumsum(0) - size)
    kj = by_target[torch.arange(ji.numel(), device=source.device) + start[ji]]
    keep = source[kj] != target[ji]
    ji, kj = ji[keep], kj[keep]
    return target, source, target[ji], source[ji], source[kj], kj, ji


class NearestInteractionGraph(RadiusInteractionGraph):
    """PyG's graph of SchNet, with :func:`radius_graph` of this module."""

    def forward(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """The edges :math:`(2, E)` and their lengths :math:`(E)`."""
        edge_index = radius_graph(pos, self.cutoff, batch, self.max_num_neighbors)
        square = (pos[edge_index[0]] - pos[edge_index[1]]).square().sum(1)
        # The clamp: finite gradients at coincident atoms.
        return edge_index, square.clamp(min=1e-12).sqrt()


class SchNet(torch_geometric.nn.SchNet):
    r"""PyG's :class:`~torch_geometric.nn.models.SchNet`, from `"SchNet: A
    Continuous-filter Convolutional Neural Network for Modeling Quantum Interactions"
    <https://arxiv.org/abs/1706.08566>`_, with all its arguments.

    Only the default :obj:`interaction_graph` is another: it needs no pyg-lib, and of
    more than :obj:`max_num_neighbors` atoms within the cutoff keeps the nearest.
    Where that happens, the output is not continuous in the positions. Elements up to
    99 may occur.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`, batch vector
          :math:`(N)`, sorted *(optional)*
        - **output:** :math:`(B, 1)`
    """

    interaction_graph: Any
    species = range(1, 100)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        graph = self.interaction_graph
        if type(graph) is RadiusInteractionGraph:
            self.interaction_graph = NearestInteractionGraph(
                graph.cutoff, graph.max_num_neighbors
            )


# PyG's own forward, which looks up these two names among the globals of its module:
# the copy finds ours there. PyG's module itself stays as it is.
_forward = FunctionType(
    torch_geometric.nn.DimeNetPlusPlus.forward.__code__,
    {
        **torch_geometric.nn.DimeNetPlusPlus.forward.__globals__,
        "radius_graph": radius_graph,
        "triplets": triplets,
    },
    "forward",
    torch_geometric.nn.DimeNetPlusPlus.forward.__defaults__,
    torch_geometric.nn.DimeNetPlusPlus.forward.__closure__,
)


class DimeNetPlusPlus(torch_geometric.nn.DimeNetPlusPlus):
    r"""PyG's :class:`~torch_geometric.nn.models.DimeNetPlusPlus`, from `"Fast and
    Uncertainty-Aware Directional Message Passing for Non-Equilibrium Molecules"
    <https://arxiv.org/abs/2011.14115>`_, with all its arguments; those that PyG leaves
    open have the published values.

    It needs neither pyg-lib nor torch-sparse, and of more than
    :obj:`max_num_neighbors` atoms within the cutoff keeps the nearest. Where that
    happens, the output is not continuous in the positions. Elements up to 94 may occur.

    The rest is as PyG has it:

    * An atom without neighbors gives the same whatever its element.
    * The output is not finite if two atoms of a molecule coincide.
    * Second derivatives in the positions, which training on forces needs, are not
      finite where three atoms lie exactly on a line.
    * The output is zero before training. :obj:`output_initializer="glorot_orthogonal"`
      changes that; the authors' code has it for :math:`\alpha`, :math:`\langle R^2
      \rangle`, :math:`U_0`, :math:`U`, :math:`H`, :math:`G` and :math:`C_v` of QM9.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`, batch vector
          :math:`(N)`, sorted *(optional)*
        - **output:** :math:`(B, F_{out})`
    """

    species = range(1, 95)

    def __init__(
        self,
        hidden_channels: int = 128,
        out_channels: int = 1,
        num_blocks: int = 4,
        int_emb_size: int = 64,
        basis_emb_size: int = 8,
        out_emb_channels: int = 256,
        num_spherical: int = 7,
        num_radial: int = 6,
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__(
            hidden_channels,
            out_channels,
            num_blocks,
            int_emb_size,
            basis_emb_size,
            out_emb_channels,
            num_spherical,
            num_radial,
            *args,
            **kwargs,
        )

    def forward(self, z: Tensor, pos: Tensor, batch: Optional[Tensor] = None) -> Tensor:
        r"""Applies the network.

        Args:
            z: Atomic numbers :math:`(N)`.
            pos: Positions :math:`(N, 3)`.
            batch: Batch vector :math:`(N)`, sorted.
        """
        # Without a batch, PyG's returns (F) instead of (1, F).
        return _forward(self, z, pos, torch.zeros_like(z) if batch is None else batch)
