import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Optional, cast

import torch
from torch import Tensor
from torch_geometric.nn import Linear
from torch_geometric.nn.inits import reset
from torch_geometric.nn.resolver import activation_resolver

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.groups.checks import positive, share
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import Neighborhood, farthest_points
from lieconv_pyg.neighbors.radius import check_points
from lieconv_pyg.nn.blocks import BottleneckBlock
from lieconv_pyg.nn.group_neighborhood import Envelope, GroupNeighborhood
from lieconv_pyg.nn.inputs import check_features, check_fit, check_vectors, per_layer
from lieconv_pyg.nn.lift import Lift
from lieconv_pyg.nn.norms import make_norm
from lieconv_pyg.nn.readout import (
    Attention,
    check_pool,
    pool_lifted,
    see_vectors,
    turn_vectors,
)
from lieconv_pyg.nn.resolution import Resolution, make_resolution
from lieconv_pyg.nn.static_graph import from_rows, rows_of, select_points, to_rows


class LieResNet(torch.nn.Module):
    r"""The network of `"Generalizing Convolutional Neural Networks for Equivariance to
    Lie Groups on Arbitrary Continuous Data" <https://arxiv.org/abs/2002.12880>`_
    (Figure 5): linear embedding, bottleneck blocks of
    :class:`~lieconv_pyg.nn.LieConv`, norm, activation, linear, pooling.

    Points are lifted and neighbours are found once for each resolution, that is once
    where no points are dropped and all layers have the same :obj:`fill`.

    Args:
        in_channels (int): Channels of each point.
        out_channels (int): Outputs of each example: numbers, or vectors with
            :obj:`out_vectors`.
        group (LieGroup): The group, see :mod:`lieconv_pyg.groups`.
        hidden_channels (int or Sequence[int], optional): Width, of all layers or of
            the embedding and each block. (default: :obj:`256`)
        num_layers (int, optional): Number of blocks. (default: :obj:`6`)
        num_lifts (int, optional): Lifts of each point. (default: :obj:`1`)
        lift (str, optional): :obj:`"haar"` or :obj:`"frames"`, see
            :class:`~lieconv_pyg.nn.Lift`. (default: :obj:`"haar"`)
        fill (float or Sequence[float], optional): Mean share of the points of an
            example in a neighbourhood; one for all blocks or one for each.
            (default: :obj:`1.0`)
        radius (float or Sequence[float], optional): The radius in group distance,
            instead of :obj:`fill`. (default: :obj:`None`)
        k (int, optional): Nearest points instead of a ball. (default: :obj:`None`)
        num_neighbors (int, optional): Neighbours drawn from the ball in training.
            (default: :obj:`None`, all)
        eval_num_neighbors (int, optional): The same in evaluation.
            (default: :obj:`None`, all)
        ratio (float or Sequence[float], optional): Share of the points that a block
            keeps, by farthest point sampling. (default: :obj:`1.0`)
        pool (str, optional): :obj:`"mean"` over lifted points, :obj:`"sum"` for
            extensive targets (the mean times the number of points),
            :obj:`"attention"` for a mean with learned weights where few points decide
            (:class:`~torch_geometric.nn.aggr.AttentionalAggregation` by channel), or
            :obj:`None` for an output for each point. (default: :obj:`"mean"`)
        envelope (optional): Smooth end of the neighbourhood, see
            :class:`~lieconv_pyg.nn.GroupNeighborhood`. (default: :obj:`None`)
        radial_basis (torch.nn.Module, optional): As for
            :class:`~lieconv_pyg.nn.LieConv`; all blocks share a copy of it.
            (default: :obj:`None`)
        act (str or Callable, optional): Activation. (default: :obj:`"silu"`)
        norm (str, optional): As for :class:`~lieconv_pyg.nn.LieConv`; leave it out
            for dynamical systems. (default: :obj:`"batch_norm"`)
        seed (int, optional): For :obj:`eval_num_neighbors`. (default: :obj:`0`)
        backend (str, optional): The neighbour search. (default: the first of
            :func:`~lieconv_pyg.neighbors.available_backends`)
        out_vectors (bool, optional): If :obj:`True`, outputs are vectors of space that
            turn with the points: each lifted point gives vectors :math:`v` in its own
            frame, and :math:`L_u v` is pooled, with :math:`L_u` the linear part of the
            action of its group element, the rotation for SE(3). Exact with
            :obj:`lift="frames"`, in the mean over :obj:`"haar"` lifts. Mirror images
            need not have the mirrored vector. (default: :obj:`False`)
        in_vectors (int, optional): Number :math:`V` of vectors, such as velocities,
            that each point has: lifted points see them in their frames, as
            :math:`L_u^{-1} v`. With :obj:`lift="frames"` equivariance is exact for
            points without symmetries. (default: :obj:`0`)
        **kwargs (optional): Further arguments of
            :class:`~lieconv_pyg.nn.BottleneckBlock`, such as :obj:`conv`, and of
            :class:`~lieconv_pyg.nn.LieConv`, such as :obj:`aggr`.

    Shapes:
        - **input:** features :math:`(N, F_{in})`, points :math:`(N, d)`, batch vector
          :math:`(N)` *(optional)*, vectors :math:`(N, V, d)` *(if there are any)*
        - **output:** :math:`(B, F_{out})`, or :math:`(N, F_{out})` without pooling;
          with vectors :math:`(B, F_{out}, d)` or :math:`(N, F_{out}, d)`

        Features may also be :math:`(B, N, F_{in})`, of :math:`B` examples that share
        their :math:`N` points, such as images: lifts, neighbours and the kernel MLP
        are then computed once for all of them. Without pooling the output is
        :math:`(B, N, F_{out})`. Vectors are :math:`(B, N, V, d)` then.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: LieGroup,
        hidden_channels: int | Sequence[int] = 256,
        num_layers: int = 6,
        num_lifts: int = 1,
        lift: str = "haar",
        fill: float | Sequence[float] = 1.0,
        radius: float | Sequence[float] | None = None,
        k: Optional[int] = None,
        num_neighbors: Optional[int] = None,
        eval_num_neighbors: Optional[int] = None,
        ratio: float | Sequence[float] = 1.0,
        pool: Optional[str] = "mean",
        envelope: Envelope = None,
        radial_basis: Optional[torch.nn.Module] = None,
        act: str | Callable | None = "silu",
        norm: Optional[str] = "batch_norm",
        seed: int = 0,
        backend: Optional[str] = None,
        out_vectors: bool = False,
        in_vectors: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        check_group(group)
        positive(in_channels, "in_channels")
        positive(out_channels, "out_channels")
        positive(num_layers, "num_layers")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.out_vectors = out_vectors
        self.group = group
        self.num_layers = num_layers
        self.pool = pool
        self.ratio = [share(r, "ratio") for r in per_layer("ratio", ratio, num_layers)]
        check_pool(self.pool, self.ratio)
        self.in_vectors = in_vectors
        self.lift = Lift(group, num_lifts, lift, out_vectors or in_vectors > 0)
        search: dict[str, Any] = dict(k=k, envelope=envelope, seed=seed)
        search |= dict(num_neighbors=num_neighbors, backend=backend)
        search |= dict(eval_num_neighbors=eval_num_neighbors)
        self._build_neighborhoods(fill, radius, **search)

        basis = copy.deepcopy(radial_basis)
        widths = per_layer("hidden_channels", hidden_channels, num_layers + 1)
        self.lin_in = Linear(in_channels, widths[0])
        self.lin_vectors = None
        if in_vectors:
            size = positive(in_vectors, "in_vectors") * group.space_dim
            self.lin_vectors = Linear(size, widths[0], bias=False)
        self.blocks = torch.nn.ModuleList(
            BottleneckBlock(
                *pair, group, radial_basis=basis, act=act, norm=norm, **kwargs
            )
            for pair in pairwise(widths)
        )
        self.norm = make_norm(norm, widths[-1])
        self.act = activation_resolver(act)
        size = group.space_dim if out_vectors else 1
        self.lin_out = Linear(widths[-1], out_channels * size)
        self.attention = Attention(widths[-1]) if pool == "attention" else None

    def _build_neighborhoods(self, fill: Any, radius: Any, **settings: Any) -> None:
        """One for all blocks in a row that keep all points and have the same fill and
        radius: 'graph_of' is the neighborhood of each block."""
        self.graph_of: list[int] = []
        self.neighborhoods = torch.nn.ModuleList()
        before = None
        fills = per_layer("fill", fill, self.num_layers)
        radii = per_layer("radius", radius, self.num_layers)
        for now in zip(fills, radii, self.ratio, strict=True):
            if now != before or now[2] < 1:
                search = GroupNeighborhood(
                    self.group, fill=now[0], radius=now[1], **settings
                )
                self.neighborhoods.append(search)
            self.graph_of.append(len(self.neighborhoods) - 1)
            before = now

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in self.children():
            reset(module)

    @torch.no_grad()
    def calibrate(self, pos: Tensor, batch: Optional[Tensor] = None) -> None:
        r"""Sets the radii from :obj:`fill`, with some typical examples.

        Args:
            pos: Points :math:`(N, d)`.
            batch: Batch vector :math:`(N)`.

        Raises:
            ValueError: if all points of each example coincide; the radii are then
                left as they were.
        """
        generator = torch.Generator(pos.device).manual_seed(0)
        searches = [m for m in self.modules() if isinstance(m, GroupNeighborhood)]
        before = {search: search.radius.clone() for search in searches}
        modes = {module: module.training for module in (self.lift, *searches)}
        try:
            for module in modes:
                module.train()
            lifted = self.lift(pos, batch, generator)
            for search in searches:
                if search.fill < 1:
                    search.radius.fill_(math.nan)
            self.resolutions(lifted, generator)
            found = all(search.is_calibrated for search in searches)
        finally:
            for module, mode in modes.items():
                module.train(mode)
            for search, radius in before.items():
                if not search.is_calibrated:
                    search.radius.copy_(radius)
        if not found:
            raise ValueError(
                "'pos' has no examples with several points in different places: give "
                "others to find the radius for 'fill' from"
            )

    def resolutions(
        self,
        lifted: Lifted,
        generator: Optional[torch.Generator] = None,
        draw: bool = True,
        start: Optional[torch.Generator] = None,
    ) -> list[Resolution]:
        """What each block works on: neighbours, and kept points where some are dropped.

        Args:
            lifted: The lifted points.
            generator: Draws neighbours in training.
            draw: Whether as many neighbours are drawn as the settings say; else all
                are taken, for :meth:`draw`.
            start: Draws the first of the kept points, which else follows from all.
        """
        out: list[Resolution] = []
        blocks = zip(self.ratio, self.graph_of, strict=True)
        for layer, (ratio, which) in enumerate(blocks):
            search = self.neighborhoods[which]
            if layer > 0 and which == self.graph_of[layer - 1]:
                out.append(out[-1])
            elif ratio == 1:
                graph = search(lifted, None, generator, draw)
                out.append(make_resolution(lifted, lifted, graph))
            else:
                keep = farthest_points(self.group, lifted, ratio, start)
                kept = lifted.select(keep)
                graph = search(lifted, kept, generator, draw)
                out.append(make_resolution(lifted, kept, graph, keep))
                lifted = kept
        return out

    def draw(
        self,
        resolutions: Sequence[Resolution],
        generator: Optional[torch.Generator] = None,
    ) -> list[Resolution]:
        """As many neighbours as the settings say, of resolutions with all of them."""
        out: list[Resolution] = []
        blocks = zip(resolutions, self.graph_of, strict=True)
        for layer, (now, which) in enumerate(blocks):
            if layer > 0 and now is resolutions[layer - 1]:
                out.append(out[-1])
                continue
            kept = now.lifted if now.keep is None else now.lifted.select(now.keep)
            search = cast(GroupNeighborhood, self.neighborhoods[which])
            graph = search.draw(now.graph, now.lifted, kept, generator)
            if graph is not now.graph:
                now = make_resolution(now.lifted, kept, graph, now.keep)
            out.append(now)
        return out

    def forward(
        self,
        x: Optional[Tensor],
        pos: Optional[Tensor] = None,
        batch: Optional[Tensor] = None,
        *,
        lifted: Optional[Lifted] = None,
        graph: Neighborhood | Sequence[Resolution] | None = None,
        vectors: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Tensor:
        r"""Applies the network.

        Args:
            x: Features :math:`(N, F_{in})` of the points; none for ones at all.
            pos: Points :math:`(N, d)`; not needed where :obj:`lifted` is given.
            batch: Batch vector :math:`(N)`.
            lifted: The lifted points, if they are known already.
            graph: Their neighbours, if they are known already, or what
                :meth:`resolutions` returns.
            vectors: Vectors :math:`(N, V, d)` of the points, for :obj:`in_vectors`.
            batch_size: Number of examples, if it is known.
            generator: Draws lifts and neighbours in training.
        """
        if lifted is None:
            if pos is None:
                raise ValueError("give the points as 'pos', or 'lifted'")
            lifted = self.lift(pos, batch, generator)
        weight = self.lin_in.weight
        constant = x is None and self.in_vectors == 0
        if x is None:
            x = weight.new_ones(int(lifted.point.max()) + 1, self.in_channels)
        check_features(x, self.in_channels, weight.dtype)
        check_points(self.group, lifted)
        check_fit(x, lifted, batch_size)
        if graph is None:
            graph = self.resolutions(lifted, generator)
        elif isinstance(graph, Neighborhood):
            graph = self._one_graph(lifted, graph)

        h = self.lin_in(to_rows(x))
        h = select_points(from_rows(h, x), lifted.point)
        if self.lin_vectors is not None:
            size = self.in_vectors, self.group.space_dim
            seen = see_vectors(self.group, lifted, check_vectors(vectors, x, *size))
            h = h + self.lin_vectors(seen)
        last = lifted
        steps = zip(self.blocks, graph, strict=True)
        for block, (source, neighbors, keep, tiling) in steps:
            last = source if keep is None else source.select(keep)
            h = block(
                h,
                (source, last),
                neighbors.edge_index,
                neighbors.edge_attr,
                neighbors.edge_weight,
                keep,
                tiling,
                constant and block is self.blocks[0],
            )
        h = self.act(self.norm(to_rows(h)))
        batch_size = x.size(0) if x.dim() == 3 else batch_size
        last, lifted = rows_of(last, x), rows_of(lifted, x)
        out = self._read_out(h, last, lifted, x.shape[:-1].numel(), batch_size)
        return out if self.pool else out.unflatten(0, x.shape[:-1])

    def _one_graph(self, lifted: Lifted, graph: Neighborhood) -> list[Resolution]:
        """A graph that was given, for every block."""
        search = cast(GroupNeighborhood, self.neighborhoods[0])
        if len(self.neighborhoods) > 1 or min(self.ratio) < 1:
            raise ValueError(
                "'graph' is a single graph, and the blocks have 'ratio' or 'fill' of "
                "their own: give what 'resolutions' returns"
            )
        if search.envelope is not None and graph.edge_weight is None:
            raise ValueError(
                "'graph' has no 'edge_weight' and the model has an envelope: build the "
                "graph with the same envelope"
            )
        return [make_resolution(lifted, lifted, graph)] * self.num_layers

    def _read_out(
        self,
        h: Tensor,
        last: Lifted,
        lifted: Lifted,
        num_points: int,
        batch_size: Optional[int],
    ) -> Tensor:
        """From features of lifted points to outputs of points or examples."""
        if batch_size is None:
            batch_size = int(lifted.batch[-1]) + 1
        if self.attention is not None:
            h = self.attention(h, last.batch, batch_size)
        out = self.lin_out(h)
        if self.out_vectors:
            out = turn_vectors(self.group, last, out)
        out = pool_lifted(out, self.pool, last, lifted, num_points, batch_size)
        return out.unflatten(1, (self.out_channels, -1)) if self.out_vectors else out

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"group={self.group}, num_layers={self.num_layers})"
        )
