import copy
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.inits import reset

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import pair_coordinates
from lieconv_pyg.nn.aggregation import aggregate
from lieconv_pyg.nn.eager import has_hooks
from lieconv_pyg.nn.inputs import check_message_passing
from lieconv_pyg.nn.kernel_network import KernelNetwork
from lieconv_pyg.nn.linear import WideLinear
from lieconv_pyg.nn.norms import norm_arguments
from lieconv_pyg.nn.static_convolution import convolve
from lieconv_pyg.nn.static_graph import from_rows
from lieconv_pyg.nn.tiles import Tiling, lifted_tiling


def _width(radial_basis: Optional[torch.nn.Module]) -> int:
    """The number of functions in a radial basis."""
    if radial_basis is None:
        return 0
    if not isinstance(radial_basis, torch.nn.Module):
        raise TypeError(
            "'radial_basis' must be a module such as PyG's 'GaussianSmearing(0.0, "
            f"radius, 16)' (got '{type(radial_basis).__name__}')"
        )
    like = next(chain(radial_basis.parameters(), radial_basis.buffers()), torch.ones(1))
    probe = copy.deepcopy(radial_basis).eval()
    try:
        with torch.no_grad():
            out = probe(like.new_zeros(2))
        num_edges, width = out.shape
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            "'radial_basis' must turn distances of shape (E) into (E, K); for 2 "
            f"distances it gives: {error}"
        ) from error
    if num_edges != 2 or not bool(out.isfinite().all()):
        raise ValueError(
            "'radial_basis' must turn distances of shape (E) into (E, K), finite at "
            "the distance 0 too, which every point has to itself (PyG's "
            "'BesselBasisLayer' is not: take 'GaussianSmearing')"
        )
    return int(width)


def kernel_first(weight: Tensor, num_kernel_channels: int) -> Tensor:
    """A weight whose columns run over the input channels, and within these over the
    kernel channels, as :class:`LieConv` has it: the other way round."""
    return weight.unflatten(1, (-1, num_kernel_channels)).mT.flatten(1)


class LieConv(MessagePassing):
    r"""The Lie-group equivariant convolution of `"Generalizing Convolutional Neural
    Networks for Equivariance to Lie Groups on Arbitrary Continuous Data"
    <https://arxiv.org/abs/2002.12880>`_ (Finzi et al., ICML 2020).

    .. math::
        \mathbf{h}_i = \mathbf{W} \, \mathrm{vec} \Big( \frac{1}{n_i}
        \sum_{j \in \mathcal{N}(i)} \mathbf{f}_j \otimes s(a_{ij}) \Big) + \mathbf{b},
        \qquad a_{ij} = [\log(v_j^{-1} u_i),\; q_i,\; q_j]

    where :math:`u_i, v_j \in G` are the group elements and :math:`q_i, q_j` the orbits
    of two lifted points, :math:`n_i` is the number of neighbours, and :math:`s` is an
    MLP with :obj:`num_kernel_channels` outputs (Section 4.2 and Appendix A.1 of the
    paper). Since :math:`a_{ij}` does not change when all points are moved by the
    group, the layer commutes with the group.

    Args:
        in_channels (int): Channels of each input point, or :obj:`-1` to derive them
            from the first input.
        out_channels (int): Channels of each output point.
        group (LieGroup): The group, see :mod:`lieconv_pyg.groups`.
        num_kernel_channels (int, optional): Outputs of the kernel MLP.
            (default: :obj:`16`)
        kernel_channels (Sequence[int], optional): Hidden channels of the kernel MLP.
            (default: :obj:`(32, 32)`)
        radial_basis (torch.nn.Module, optional): Expands the group distance of a
            pair, :math:`(E) \to (E, K)`, into further inputs of the kernel MLP, which
            then tells distances apart more finely; for example PyG's
            :obj:`GaussianSmearing(0.0, radius, 16)`. It must be smooth at 0, where
            every point is from itself. Its settings are not in the state_dict.
            (default: :obj:`None`)
        aggr (str, optional): :obj:`"mean"` for the Monte Carlo estimate of the
            integral over the neighbourhood, or :obj:`"add"`. (default: :obj:`"mean"`)
        act (str or Callable, optional): Activation of the kernel MLP.
            (default: :obj:`"silu"`, that is swish)
        norm (str, optional): Normalization in the kernel MLP: :obj:`"batch_norm"`
            (over edges), :obj:`"layer_norm"` or :obj:`None`.
            (default: :obj:`"batch_norm"`)
        bias (bool, optional): If :obj:`False`, no :math:`\mathbf{b}`.
            (default: :obj:`True`)
        scale_bias (bool, optional): If :obj:`True`, the bias is divided by
            :math:`n_i` like the sum, as in the original code. For its checkpoints
            only. (default: :obj:`False`)

    Shapes:
        - **input:** features :math:`(M, F_{in})` or a pair
          :math:`((M_s, F_{in}), (M_t, F_{in}))` of which the second may be
          :obj:`None`, on *lifted* points; the lifted points, one
          :class:`~lieconv_pyg.lifting.Lifted` or a pair; edge indices
          :math:`(2, E)`; optionally pair coordinates
          :math:`(E, \dim G + 2 \dim q)` and edge weights :math:`(E)`
        - **output:** :math:`(M, F_{out})` or :math:`(M_t, F_{out})`

        Features may also be :math:`(B, M, F_{in})`, of :math:`B` examples that share
        points and graph (PyG's *static graphs*), such as images: the kernel MLP then
        sees each edge once. The output is :math:`(B, M_t, F_{out})`.

    Example:
        >>> group = SE3()
        >>> lifted = lift(group, pos, batch, num_lifts=4)
        >>> graph = radius_graph(group, lifted, radius=2.0)
        >>> conv = LieConv(16, 32, group)
        >>> out = conv(x[lifted.point], lifted, graph.edge_index, graph.edge_attr)
    """

    _version = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: LieGroup,
        num_kernel_channels: int = 16,
        kernel_channels: Sequence[int] = (32, 32),
        radial_basis: Optional[torch.nn.Module] = None,
        aggr: str = "mean",
        act: str | Callable | None = "silu",
        norm: Optional[str] = "batch_norm",
        bias: bool = True,
        scale_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        if aggr not in ("mean", "add", "sum"):
            raise ValueError(f"'aggr' must be 'mean' or 'add' (got '{aggr}')")
        check_message_passing(type(self).__name__, kwargs)
        check_group(group)
        if in_channels != -1:
            positive(in_channels, "in_channels")
        positive(out_channels, "out_channels")
        positive(num_kernel_channels, "num_kernel_channels")
        super().__init__(aggr=aggr, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.group = group
        self.num_kernel_channels = num_kernel_channels
        self.scale_bias = False
        if scale_bias:
            self.scale_bias_()

        self.pair_dim = group.pair_dim
        self.radial_basis = radial_basis
        num_radial = _width(radial_basis)
        self.kernel = KernelNetwork(
            [self.pair_dim + num_radial, *kernel_channels, num_kernel_channels],
            act,
            **norm_arguments(norm),
        )
        flat = in_channels * num_kernel_channels if in_channels > 0 else -1
        self.lin = WideLinear(flat, out_channels, bias=bias)

        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        super().reset_parameters()
        reset(self.radial_basis)
        self.kernel.reset_parameters()
        self.lin.reset_parameters()

    def scale_bias_(self) -> None:
        r"""Sets :obj:`scale_bias`, which shows in the state_dict: a checkpoint of it
        does not load into a layer without."""
        self.scale_bias = True
        self.register_buffer("bias_is_scaled", torch.ones((), dtype=torch.bool))

    def forward(
        self,
        x: Tensor | tuple[Tensor, Optional[Tensor]],
        lifted: Lifted | tuple[Lifted, Lifted],
        edge_index: Tensor,
        edge_attr: Optional[Tensor] = None,
        edge_weight: Optional[Tensor] = None,
        tiling: Optional[Tiling] = None,
    ) -> Tensor:
        r"""Convolves features on lifted points.

        Args:
            x: Features :math:`(M, F_{in})` of the lifted points, that is
                :obj:`x[lifted.point]` for features of points; a pair for bipartite
                graphs, whose second entry is not used.
            lifted: The lifted points, or a pair (sources, targets).
            edge_index: :math:`(2, E)`, sources :math:`j` in the first row, targets
                :math:`i` in the second, best sorted by target.
            edge_attr: The pair coordinates :math:`a_{ij}`, if they are known already.
            edge_weight: Weight of each neighbour, for example of an envelope.
                :math:`n_i` is then the sum of the weights, and at least 1.
            tiling: What :func:`~lieconv_pyg.nn.tiles.make_tiling` makes of
                :obj:`edge_index`, if it is known already.

        Raises:
            TypeError, ValueError: if shapes or types do not fit.
        """
        x_src, source, target = self._check(x, lifted, edge_index, edge_attr)
        num_dst = target.batch.size(0)
        if tiling is not None and not tiling.fits(edge_index, num_dst):
            raise ValueError(
                f"'tiling' is of another graph than 'edge_index': it has "
                f"{tiling.num_edges} edges to {tiling.num_dst} points"
            )
        if edge_weight is not None and edge_weight.numel() != edge_index.size(1):
            raise ValueError(
                f"'edge_weight' must hold one weight for each of {edge_index.size(1)} "
                f"edges (got shape {tuple(edge_weight.shape)})"
            )
        if edge_attr is None:
            edge_attr = pair_coordinates(self.group, source, target, edge_index)
        dtype = self.kernel.lins[0].weight.dtype
        inputs = edge_attr.to(dtype)
        if self.radial_basis is not None:
            distance = self.group.distance(edge_attr).to(dtype)
            radial = self.radial_basis(distance).to(dtype)
            inputs = torch.cat([inputs, radial], dim=1)
        kernel = self.kernel(inputs)
        if edge_weight is not None:
            edge_weight = edge_weight.to(dtype)
            kernel = kernel * edge_weight.view(-1, 1)
        share = None
        if self.aggr == "mean":
            share = self._share(edge_index[1], edge_weight, num_dst, kernel)
            if kernel.dtype == torch.half and not self.scale_bias:
                # Its sums overflow.
                kernel, share = kernel * share.index_select(0, edge_index[1]), None

        if tiling is None and self._is_fused():
            tiling = lifted_tiling(edge_index, source, target)
        out = self._convolve(x_src, kernel, edge_index, num_dst, tiling)
        if share is None:
            return out
        share = share.to(out.dtype)
        if self.lin.bias is None or self.scale_bias:
            return share * out
        return torch.lerp(self.lin.bias.to(out.dtype), out, share)  # but for the bias

    def _convolve(
        self,
        x: Tensor,
        kernel: Tensor,
        edge_index: Tensor,
        size: int,
        tiling: Optional[Tiling],
    ) -> Tensor:
        """The linear map of the sums over neighbours."""
        static = x.dim() == 3
        if static and self._is_fused() and not has_hooks(self.lin):
            settings = kernel, self.lin.weight, self.lin.bias, edge_index, size
            return from_rows(convolve(x.transpose(0, 1), *settings, tiling), x)
        flat = x.transpose(0, 1).flatten(1) if static else x
        if self._is_fused():
            out = self.message_and_aggregate(edge_index, flat, kernel, size, tiling)
        else:
            sizes = (flat.size(0), size)
            # propagate_type: (x: Tensor, kernel: Tensor)
            out = self.propagate(edge_index, x=flat, kernel=kernel, size=sizes)
        if static:
            out = out.unflatten(2, (len(x), -1)).transpose(1, 2).flatten(0, 1)
        return from_rows(self.lin(out.flatten(1)), x)

    def message(self, x_j: Tensor) -> Tensor:
        """What a source sends: its features."""
        return x_j

    def aggregate(
        self, inputs: Tensor, kernel: Tensor, index: Tensor, dim_size: Optional[int]
    ) -> Tensor:
        """The sum over neighbours of features times kernel."""
        assert dim_size is not None
        edges = torch.stack([torch.arange(len(index), device=index.device), index])
        return aggregate(inputs, kernel, edges, dim_size)

    def message_and_aggregate(
        self,
        edge_index: Tensor,
        x: Tensor,
        kernel: Tensor,
        dim_size: Optional[int],
        tiling: Optional[Tiling] = None,
    ) -> Tensor:
        """Both at once, without a copy of the features for each edge."""
        assert dim_size is not None
        return aggregate(x, kernel, edge_index, dim_size, tiling)

    def _is_fused(self) -> bool:
        """Whether nobody wants to see or change the messages."""
        hooks = (
            *(self._propagate_forward_pre_hooks, self._propagate_forward_hooks),
            *(self._message_forward_pre_hooks, self._message_forward_hooks),
            *(self._aggregate_forward_pre_hooks, self._aggregate_forward_hooks),
        )
        own = type(self).message is LieConv.message
        own = own and type(self).aggregate is LieConv.aggregate
        own = own and type(self).update is LieConv.update
        return own and not self.explain and not any(hooks)

    @staticmethod
    def _share(
        index: Tensor, edge_weight: Optional[Tensor], size: int, kernel: Tensor
    ) -> Tensor:
        r""":math:`1 / n_i` of each target :math:`(M, 1)`."""
        if edge_weight is None:
            dtype = torch.promote_types(kernel.dtype, torch.float)
            edge_weight = kernel.new_ones(index.size(0), dtype=dtype)
        total = edge_weight.new_zeros(size).index_add(0, index, edge_weight)
        return (1 / total.clamp(min=1)).to(kernel.dtype).view(-1, 1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict, *args: Any
    ) -> None:
        """Up to version 1 the kernel channels were the inner ones in the weight."""
        name, channels = f"{prefix}lin.weight", self.num_kernel_channels
        if local_metadata.get("version") == 1 and name in state_dict:
            weight = state_dict[name]
            if not is_lazy(weight) and weight.size(-1) % channels == 0:
                state_dict[name] = kernel_first(weight, channels)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def _check(
        self,
        x: Tensor | tuple[Tensor, Optional[Tensor]],
        lifted: Lifted | tuple[Lifted, Lifted],
        edge_index: Tensor,
        edge_attr: Optional[Tensor],
    ) -> tuple[Tensor, Lifted, Lifted]:
        """Source features, sources and targets; says what does not fit."""
        x_src = x if isinstance(x, Tensor) else x[0]
        if isinstance(lifted, Lifted):
            source, target = lifted, lifted
        elif isinstance(lifted, (tuple, list)) and len(lifted) == 2:
            source, target = lifted
        else:
            raise TypeError(
                "'lifted' must be a 'Lifted', as 'lieconv_pyg.lift' returns it, or a "
                f"pair of them (got '{type(lifted)}')"
            )
        if not isinstance(x_src, Tensor) or x_src.dim() not in (2, 3):
            raise ValueError(
                "'x' must be a tensor of shape (points, channels), or (examples, "
                "points, channels) where all have the same points"
            )
        if x_src.dim() == 3 and len(x_src) == 0:
            raise ValueError("'x' has no examples")
        if 0 < self.in_channels != x_src.size(-1):
            raise ValueError(
                f"'x' has {x_src.size(-1)} channels where the layer was built for "
                f"'in_channels={self.in_channels}'"
            )
        if x_src.size(-2) != source.batch.size(0):
            raise ValueError(
                f"'x' has {x_src.size(-2)} rows for {source.batch.size(0)} lifted "
                "points: pass 'x[lifted.point]' for features of points"
            )
        if (
            not isinstance(edge_index, Tensor)
            or edge_index.dim() != 2
            or edge_index.dtype != torch.long
        ):
            raise ValueError(
                "'edge_index' must be a tensor of integers (torch.long) of shape "
                "(2, edges)"
            )
        shape = (edge_index.size(1), self.pair_dim)
        if edge_attr is not None and edge_attr.shape != shape:
            raise ValueError(
                f"'edge_attr' must hold the {self.pair_dim} pair coordinates of "
                f"{self.group} for each of {edge_index.size(1)} edges "
                f"(got shape {tuple(edge_attr.shape)})"
            )
        return x_src, source, target

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"group={self.group})"
        )
