from collections.abc import Callable
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import BatchNorm
from torch_geometric.nn.inits import reset
from torch_geometric.nn.resolver import activation_resolver

from lieconv_pyg.groups import LieGroup
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.nn.lie_conv import LieConv
from lieconv_pyg.nn.linear import WideLinear
from lieconv_pyg.nn.norms import make_norm
from lieconv_pyg.nn.static_graph import from_rows, select_points, to_rows
from lieconv_pyg.nn.tiles import Tiling

# type first: else jsonargparse would make an object of the class.
Convolution = type[torch.nn.Module] | Callable | None


class BottleneckBlock(torch.nn.Module):
    r"""The residual block of LieResNet (Figure 5 of `"Generalizing Convolutional Neural
    Networks for Equivariance to Lie Groups on Arbitrary Continuous Data"
    <https://arxiv.org/abs/2002.12880>`_): norm, activation, linear to a quarter of the
    channels, norm, activation, :class:`~lieconv_pyg.nn.LieConv`, norm, activation,
    linear; and the features of the same kept points added, filled up with zeros where
    the block has more output channels.

    Args:
        in_channels (int): Channels of each input point, at least 4.
        out_channels (int): Channels of each output point, at least
            :obj:`in_channels`.
        group (LieGroup): The group.
        act (str or Callable, optional): Activation. (default: :obj:`"silu"`)
        norm (str, optional): As for :class:`~lieconv_pyg.nn.LieConv`.
            (default: :obj:`"batch_norm"`)
        conv (Callable, optional): Makes the convolution from the arguments of
            :class:`~lieconv_pyg.nn.LieConv`, and is called like it: that class, or
            another such as :class:`~lieconv_pyg.nn.RelaxedLieConv`.
            (default: :class:`~lieconv_pyg.nn.LieConv`)
        **kwargs (optional): Further arguments of :obj:`conv`.

    Shapes:
        - **input:** features :math:`(M, F_{in})`; the lifted points, one
          :class:`~lieconv_pyg.lifting.Lifted` or a pair (sources, targets); edge
          indices :math:`(2, E)`; pair coordinates :math:`(E, \dim G + 2 \dim q)`;
          edge weights :math:`(E)`; kept points :math:`(M_t)`
        - **output:** :math:`(M, F_{out})`, or :math:`(M_t, F_{out})` for kept points

        Features may also be :math:`(B, M, F_{in})`, of examples that share their
        points, as for :class:`~lieconv_pyg.nn.LieConv`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: LieGroup,
        act: str | Callable | None = "silu",
        norm: Optional[str] = "batch_norm",
        conv: Convolution = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not 4 <= in_channels <= out_channels:
            raise ValueError(
                "'in_channels' must be at least 4 and 'out_channels' at least "
                f"'in_channels' (got {in_channels} and {out_channels})"
            )
        if isinstance(conv, torch.nn.Module) or not (conv is None or callable(conv)):
            raise TypeError(
                "'conv' must be a class such as RelaxedLieConv, or a partial of one "
                f"(got {conv!r})"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.act = activation_resolver(act)
        self.norm1 = make_norm(norm, in_channels)
        self.lin1 = WideLinear(in_channels, in_channels // 4)
        self.norm2 = make_norm(norm, in_channels // 4)
        self.conv = (LieConv if conv is None else conv)(
            in_channels // 4, out_channels // 4, group, act=act, norm=norm, **kwargs
        )
        self.norm3 = make_norm(norm, out_channels // 4)
        self.lin2 = WideLinear(out_channels // 4, out_channels)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in self.children():
            reset(module)

    def forward(
        self,
        x: Tensor,
        lifted: Lifted | tuple[Lifted, Lifted],
        edge_index: Tensor,
        edge_attr: Optional[Tensor] = None,
        edge_weight: Optional[Tensor] = None,
        keep: Optional[Tensor] = None,
        tiling: Optional[Tiling] = None,
        constant: bool = False,
    ) -> Tensor:
        r"""Applies the block.

        Args:
            x: Features :math:`(M, F_{in})` of the lifted points.
            lifted: The lifted points, or a pair (all, kept).
            edge_index: :math:`(2, E)`.
            edge_attr: Pair coordinates, if they are known already.
            edge_weight: Weight of each neighbour.
            keep: Indices :math:`(M_t)` of the kept points, where some are dropped.
            tiling: The tiling of the edges, if it is known already.
            constant: Whether the features are the same at all points.
        """
        h = self.lin1(self.act(_normalized(self.norm1, to_rows(x), constant)))
        h = from_rows(self.act(_normalized(self.norm2, h, constant)), x)
        h = self.conv(h, lifted, edge_index, edge_attr, edge_weight, tiling)
        h = self.lin2(self.act(self.norm3(to_rows(h))))
        residual = to_rows(x if keep is None else select_points(x, keep))
        h = h + F.pad(residual, (0, self.out_channels - self.in_channels))
        return from_rows(h, x)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"group={self.conv.group})"
        )


def _normalized(norm: torch.nn.Module, x: Tensor, constant: bool) -> Tensor:
    """Batch norm has no statistics of what is the same at all points: it would make it
    0 in training, and in evaluation divide by next to nothing. It is scaled and
    shifted alone."""
    if constant and isinstance(norm, BatchNorm):
        return torch.addcmul(norm.module.bias, x, norm.module.weight)
    return norm(x)
