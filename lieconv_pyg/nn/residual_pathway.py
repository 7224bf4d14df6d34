from typing import Any, Optional

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from lieconv_pyg.groups import LieGroup, Trivial
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.nn.lie_conv import LieConv
from lieconv_pyg.nn.linear import WideLinear
from lieconv_pyg.nn.tiles import Tiling

#: Weights of the free part at the start, relative to the equivariant one's.
FREE_SCALE = 1e-3


class _SmallLinear(WideLinear):
    """A linear map that starts small."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if not is_lazy(self.weight):
            with torch.no_grad():
                self.weight.mul_(FREE_SCALE)


class RPPLieConv(torch.nn.Module):
    r"""LieConv with a residual pathway, after `"Residual Pathway Priors for Soft
    Equivariance Constraints" <https://arxiv.org/abs/2112.01388>`_ (Finzi, Benton,
    Wilson, NeurIPS 2021): the sum of an equivariant layer and a free one,

    .. math::
        \mathbf{h} = \mathrm{LieConv}_G(\mathbf{f}) +
        \mathrm{LieConv}_{\mathrm{Trivial}}(\mathbf{f})

    of which the second sees the absolute positions :math:`x_i, x_j` of both points of
    a pair. It starts :math:`10^{-3}` times as large as the first, and :meth:`prior`
    holds it there: the symmetry is kept but where data speak against it.

    Args:
        in_channels (int): Channels of each input point, or :obj:`-1` to derive them
            from the first input.
        out_channels (int): Channels of each output point.
        group (LieGroup): The group; its :meth:`~lieconv_pyg.groups.LieGroup.origin`
            must be defined, for the positions of lifted points.
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieConv`, for
            both parts.

    Shapes:
        As for :class:`~lieconv_pyg.nn.LieConv`.

    Raises:
        ValueError: If the group defines no origin.

    Example:
        >>> conv = RPPLieConv(16, 32, SE3())
        >>> out = conv(x[lifted.point], lifted, graph.edge_index, graph.edge_attr)
        >>> loss = F.mse_loss(out, y) + conv.prior()
    """

    def __init__(
        self, in_channels: int, out_channels: int, group: LieGroup, **kwargs: Any
    ) -> None:
        super().__init__()
        check_group(group).origin(torch.zeros(1, group.orbit_dim))
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.group = group
        self.conv = LieConv(in_channels, out_channels, group, **kwargs)
        plain = dict(bias=False, scale_bias=False)
        everywhere = Trivial(group.space_dim)
        self.free = LieConv(in_channels, out_channels, everywhere, **(kwargs | plain))
        width = self.free.lin.in_channels
        self.free.lin = _SmallLinear(width, out_channels, bias=False)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.conv.reset_parameters()
        self.free.reset_parameters()

    def prior(self, equiv_weight: float = 1e-3, free_weight: float = 1e2) -> Tensor:
        r"""What Gaussian priors on both linear maps :math:`\mathbf{W}` add to a loss:

        .. math::
            \lambda \| \mathbf{W} \|^2 +
            \lambda_{\mathrm{free}} \| \mathbf{W}_{\mathrm{free}} \|^2 .

        As in the paper's code these are sums over the weights of linear maps, without
        biases; kernel networks :math:`s` are left out, whose sizes
        :math:`\mathbf{W}` decides about.

        Args:
            equiv_weight: :math:`\lambda`.
            free_weight: :math:`\lambda_{\mathrm{free}}`; the larger, the nearer the
                layer is to one that commutes with the group.
        """
        for name, value in ("equiv_weight", equiv_weight), ("free_weight", free_weight):
            if not value >= 0:
                raise ValueError(f"'{name}' must not be negative (got {value})")
        equivariant = self.conv.lin.weight.square().sum()
        return equiv_weight * equivariant + free_weight * self.free_size()

    def free_size(self) -> Tensor:
        r""":math:`\| \mathbf{W}_{\mathrm{free}} \|^2`."""
        return self.free.lin.weight.square().sum()

    def _placed(self, lifted: Lifted) -> Lifted:
        """The points that were lifted, as lifted points of the trivial group."""
        pos = self.group.act(lifted.element, self.group.origin(lifted.orbit))
        u, q = self.free.group.section(pos)
        return lifted._replace(element=u, orbit=q)

    def forward(
        self,
        x: Tensor | tuple[Tensor, Optional[Tensor]],
        lifted: Lifted | tuple[Lifted, Lifted],
        edge_index: Tensor,
        edge_attr: Optional[Tensor] = None,
        edge_weight: Optional[Tensor] = None,
        tiling: Optional[Tiling] = None,
    ) -> Tensor:
        r"""Convolves features on lifted points: the arguments are those of
        :class:`~lieconv_pyg.nn.LieConv`.
        """
        out = self.conv(x, lifted, edge_index, edge_attr, edge_weight, tiling)
        source, target = (lifted, lifted) if isinstance(lifted, Lifted) else lifted
        placed = self._placed(source)
        both = placed, placed if target is source else self._placed(target)
        return out + self.free(x, both, edge_index, None, edge_weight, tiling)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"group={self.group})"
        )


def pathway_prior(
    model: torch.nn.Module, equiv_weight: float = 1e-3, free_weight: float = 1e2
) -> Tensor:
    r"""The sum of :meth:`RPPLieConv.prior` over all layers of a network, to be added
    to its loss.

    Args:
        model (torch.nn.Module): The network.
        equiv_weight (float, optional): Weight of the equivariant parts.
            (default: :obj:`1e-3`)
        free_weight (float, optional): Weight of the free parts. (default: :obj:`1e2`)

    Raises:
        ValueError: If the network has no such layer.

    Example:
        >>> model = LieResNet(3, 1, SE2(), conv=RPPLieConv)
        >>> loss = F.mse_loss(model(x, pos, batch), y) + pathway_prior(model)
    """
    layers = [m for m in model.modules() if isinstance(m, RPPLieConv)]
    if not layers:
        raise ValueError("'model' has no 'RPPLieConv': build it with 'conv=RPPLieConv'")
    parts = [layer.prior(equiv_weight, free_weight) for layer in layers]
    return torch.stack(parts).sum()
