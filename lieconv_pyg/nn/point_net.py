from itertools import pairwise
from typing import Optional

import torch
from torch import Tensor
from torch_geometric.nn import MLP, PointNetConv, global_max_pool

from lieconv_pyg.groups import T
from lieconv_pyg.groups.checks import positive, share
from lieconv_pyg.lifting import check_points_and_batch, lift
from lieconv_pyg.neighbors import farthest_points, radius_graph
from lieconv_pyg.nn.images import rotations_of, shared_points
from lieconv_pyg.nn.inputs import check_rows
from lieconv_pyg.nn.norms import norm_arguments


class PointNet(torch.nn.Module):
    r"""Two levels of `"PointNet++: Deep Hierarchical Feature Learning on Point Sets in
    a Metric Space" <https://arxiv.org/abs/1706.02413>`_ in PyG's
    :class:`~torch_geometric.nn.conv.PointNetConv`, and a maximum over what is left: a
    baseline for :class:`~lieconv_pyg.nn.ImageLieResNet`, with the same call.

    Each level sees offsets between points, keeps a share of them, by farthest point
    sampling, and looks twice as far as the one before; the maximum sees where points
    are.

    Args:
        in_channels (int, optional): Channels of each point. (default: :obj:`1`)
        out_channels (int, optional): Outputs of each example. (default: :obj:`10`)
        hidden_channels (int, optional): Width of the first level; that of the second is
            twice as large. (default: :obj:`64`)
        radius (float, optional): How far the first level looks, in the unit of the
            points. (default: :obj:`3.0`, which are 2.9 pixels of MNIST)
        ratio (float, optional): Share of the points that each level keeps.
            (default: :obj:`0.25`)
        augment (bool, optional): Rotates the points of each example at random in
            training. (default: :obj:`True`)

    Shapes:
        - **input:** features :math:`(N, F_{in})`, or :obj:`None` for ones; points
          :math:`(N, 2)`; batch vector :math:`(N)` *(optional)*
        - **output:** :math:`(B, F_{out})`
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 10,
        hidden_channels: int = 64,
        radius: float = 3.0,
        ratio: float = 0.25,
        augment: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels = positive(in_channels, "in_channels")
        self.out_channels = positive(out_channels, "out_channels")
        width = positive(hidden_channels, "hidden_channels")
        if not radius > 0:
            raise ValueError(f"'radius' must be positive, got {radius}")
        self.radius = radius
        self.ratio = share(ratio, "ratio")
        self.augment = augment
        self._plane = T(2, alpha=1.0)  # its distance is the Euclidean one
        sizes = (in_channels, width, 2 * width)
        norm = norm_arguments("batch_norm")
        self.levels = torch.nn.ModuleList(
            PointNetConv(MLP([a + 2, b, b], **norm), add_self_loops=False)
            for a, b in pairwise(sizes)
        )
        self.top = MLP([2 * width + 2, 4 * width, 4 * width], **norm)
        self.head = MLP([4 * width, 2 * width, out_channels], **norm)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in (*self.levels, self.top, self.head):
            module.reset_parameters()

    def forward(
        self,
        x: Optional[Tensor],
        pos: Tensor,
        batch: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
    ) -> Tensor:
        r"""Applies the network, to :obj:`batch_size` examples if it is known."""
        batch = check_points_and_batch(pos, batch, self._plane)
        size = int(batch[-1]) + 1 if batch_size is None else batch_size
        dtype = next(self.parameters()).dtype
        check_rows(x, pos, batch, size, self.in_channels, dtype)
        x = pos.new_ones(len(pos), self.in_channels) if x is None else x
        empty = torch.bincount(batch, minlength=size) == 0
        if empty.any():
            raise ValueError(f"example {int(empty.long().argmax())} has no points")
        found = self._search(pos, batch, size)
        if self.training and self.augment:
            rotations = rotations_of(pos)
            turn = rotations.sample(size, dtype=pos.dtype, device=pos.device)
            pos = rotations.act(turn[batch], pos)
        for conv, (keep, edge_index) in zip(self.levels, found, strict=True):
            x = conv((x, None), (pos, pos[keep]), edge_index)
            pos, batch = pos[keep], batch[keep]
        x = self.top(torch.cat([x, pos], dim=1))
        return self.head(global_max_pool(x, batch, size))

    @torch.no_grad()
    def _search(
        self, pos: Tensor, batch: Tensor, size: int
    ) -> list[tuple[Tensor, Tensor]]:
        """The points that each level keeps, and the edges to them: rotations change
        neither, and points that all examples share are searched once."""
        one = shared_points(pos, batch) if size > 1 else None
        times = 1 if one is None else size
        points = lift(self._plane, *((pos, batch) if one is None else (one,)))
        out = []
        for level in range(len(self.levels)):
            keep = farthest_points(self._plane, points, self.ratio)
            kept, radius = points.select(keep), self.radius * 2**level
            edges = radius_graph(self._plane, points, radius, kept).edge_index
            sizes = points.num_points, kept.num_points
            ends = [_repeat(*e, times) for e in zip(edges, sizes, strict=True)]
            out.append((_repeat(keep, sizes[0], times), torch.stack(ends)))
            points = kept
        return out


def _repeat(index: Tensor, size: int, times: int) -> Tensor:
    """The indices for several examples, each with :obj:`size` points."""
    first = size * torch.arange(times, device=index.device)
    return (index + first[:, None]).flatten()
