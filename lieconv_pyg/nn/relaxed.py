from collections.abc import Sequence
from typing import Any, Optional

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from lieconv_pyg.groups import LieGroup, Lorentz
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.ops import matmul
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import pair_coordinates
from lieconv_pyg.nn.lie_conv import LieConv
from lieconv_pyg.nn.tiles import Tiling


class RelaxedLieConv(torch.nn.Module):
    r"""LieConv whose equivariance is relaxed by weights that depend on where a lifted
    point is, after `"Approximately Equivariant Networks for Imperfectly Symmetric
    Dynamics" <https://arxiv.org/abs/2201.11969>`_ (Wang, Walters, Yu, ICML 2022).

    .. math::
        \mathbf{h}_i = \frac{1}{n_i} \sum_{j \in \mathcal{N}(i)} \sum_{l=1}^L
        w_l(u_j, q_j) \, K_l(a_{ij}) \, \mathbf{f}_j + \mathbf{b}, \qquad
        w_l = c_l + \delta_l

    with kernels :math:`K_l` of :class:`~lieconv_pyg.nn.LieConv`, and a small MLP
    :math:`\delta` of the absolute position :math:`(u, q)`. Where all :math:`w_l` are
    constant on orbits, the layer commutes with the group. The last map of
    :math:`\delta` starts at zero: the layer starts as the :class:`LieConv` that it
    holds as :obj:`conv`, bit for bit, and training moves it away where data ask for
    it and :meth:`penalty` lets it.

    The constants are :math:`c = (1, 0, \dots, 0)`. The published :math:`c_l = 1 / L`
    give the same functions in other coordinates, as an invertible matrix takes one to
    the other, but they would make a sum of :math:`L` kernels of what is one.

    Args:
        in_channels (int): Channels of each input point, or :obj:`-1` to derive them
            from the first input.
        out_channels (int): Channels of each output point.
        group (LieGroup): The group, see :mod:`lieconv_pyg.groups`.
        num_banks (int, optional): The number :math:`L` of kernels.
            (default: :obj:`1`)
        side (str, optional): :obj:`"input"`, weights at the source of an edge, as
            above; or :obj:`"output"`, weights :math:`w_l(u_i, q_i)` at its target,
            with the bias inside :math:`K_1`. (default: :obj:`"input"`)
        coordinates (str, optional): What :math:`\delta` sees of :math:`u`:
            :obj:`"log"` for :math:`\log u`, which jumps at rotations by :math:`\pi`;
            or :obj:`"element"` for the entries of the matrix, which do not; for
            :class:`~lieconv_pyg.groups.Lorentz` those of
            :meth:`~lieconv_pyg.groups.Lorentz.lorentz_matrix`, as :math:`A` and
            :math:`-A` are one element. The orbit label :math:`q` follows.
            (default: :obj:`"log"`)
        delta_channels (Sequence[int], optional): Hidden channels of :math:`\delta`.
            (default: :obj:`(32, 32)`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieConv`.

    Shapes:
        As for :class:`~lieconv_pyg.nn.LieConv`.

    Example:
        >>> conv = RelaxedLieConv(16, 32, SE3(), num_banks=2)
        >>> out = conv(x[lifted.point], lifted, graph.edge_index, graph.edge_attr)
        >>> loss = F.mse_loss(out, y) + 0.1 * conv.penalty(lifted)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        group: LieGroup,
        num_banks: int = 1,
        side: str = "input",
        coordinates: str = "log",
        delta_channels: Sequence[int] = (32, 32),
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if side not in ("input", "output"):
            raise ValueError(f"'side' must be 'input' or 'output' (got {side!r})")
        if coordinates not in ("log", "element"):
            raise ValueError(
                f"'coordinates' must be 'log' or 'element' (got {coordinates!r})"
            )
        self.conv = LieConv(in_channels, out_channels, group, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.group = group
        self.num_banks = positive(num_banks, "num_banks")
        self.side = side
        self.coordinates = coordinates
        self.banks: Optional[LieConv] = None
        if num_banks > 1:
            more, plain = num_banks - 1, dict(bias=False, scale_bias=False)
            if side == "output":
                out_channels = more * out_channels
            elif in_channels > 0:
                in_channels = more * in_channels
            self.banks = LieConv(in_channels, out_channels, group, **(kwargs | plain))
        size = group.dim if coordinates == "log" else group.matrix_dim**2
        hidden = [positive(number, "delta_channels") for number in delta_channels]
        channels = [size + group.orbit_dim, *hidden, num_banks]
        self.delta = MLP(channels, act="silu", norm=None)
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        last = self.delta.lins[-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module; it is equivariant then."""
        self.conv.reset_parameters()
        if self.banks is not None:
            self.banks.reset_parameters()
        self.delta.reset_parameters()
        self._start_at_zero()

    def deviation(self, lifted: Lifted) -> Tensor:
        r"""The deviations :math:`\delta_l` at lifted points, :math:`(M, L)`."""
        return self._deviation(lifted.element, lifted.orbit)

    def _deviation(self, u: Tensor, q: Tensor) -> Tensor:
        if self.coordinates == "log":
            a = self.group.log(u)
        elif isinstance(self.group, Lorentz):
            a = self.group.lorentz_matrix(u).flatten(-2)
        else:
            a = u.flatten(-2)
        position = torch.cat([a, q.to(a.dtype)], dim=-1)
        return self.delta(position.to(self.delta.lins[0].weight.dtype))

    def penalty(self, lifted: Lifted, kind: str = "size") -> Tensor:
        r"""How far the layer is from commuting with the group, to be added to a loss:
        it is zero at the start, and has gradients in the parameters of
        :math:`\delta`.

        Args:
            lifted: The lifted points of the examples at hand.
            kind: :obj:`"size"` for the mean of :math:`\delta_l^2`; or
                :obj:`"derivative"` for the mean of
                :math:`| \partial_t w_l(\exp(t A_k) u, q) |_{t = 0}` along the
                generators :math:`A_k`, the limit of the published differences between
                neighbours on a grid. This one leaves weights alone that depend on the
                orbit only, and so break no symmetry.

        Raises:
            TypeError: if the points are not lifted.
            ValueError: for another kind.
        """
        if not isinstance(lifted, Lifted):
            raise TypeError(
                "'lifted' must be a 'Lifted', such as 'model.lift(pos, batch)' (got "
                f"'{type(lifted).__name__}')"
            )
        if kind == "size":
            return self.deviation(lifted).square().mean()
        if kind != "derivative":
            raise ValueError(f"'kind' must be 'size' or 'derivative' (got {kind!r})")
        if self.group.dim == 0:  # there is nothing to break
            return 0.0 * self.deviation(lifted).sum()
        u, q = lifted.element, lifted.orbit
        basis = self.group.generators(u.dtype, u.device)
        moving = matmul(basis.unsqueeze(1), u)  # d/dt exp(t A_k) u
        u, q = u.expand_as(moving).clone(), q.expand(len(basis), *q.shape)
        slope = torch.func.jvp(lambda u: self._deviation(u, q), (u,), (moving,))[1]
        return slope.abs().mean()

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
        x_src, source, target = self.conv._check(x, lifted, edge_index, edge_attr)
        if edge_attr is None and self.banks is not None:
            edge_attr = pair_coordinates(self.group, source, target, edge_index)
        graph = (source, target), edge_index, edge_attr, edge_weight, tiling
        if self.side == "output":
            return self._mix_output(x_src, target, graph)
        delta = self.deviation(source).to(x_src.dtype)
        out = self.conv(x_src * (1 + delta[:, :1]), *graph)
        if self.banks is None:
            return out
        mixed = x_src.unsqueeze(-2) * delta[:, 1:].unsqueeze(-1)
        return out + self.banks(mixed.flatten(-2), *graph)

    def _mix_output(self, x: Tensor, target: Lifted, graph: tuple) -> Tensor:
        out = self.conv(x, *graph)
        delta = self.deviation(target).to(out.dtype)
        out = out * (1 + delta[:, :1])
        if self.banks is None:
            return out
        shape = self.num_banks - 1, self.out_channels
        banks = self.banks(x, *graph).unflatten(-1, shape)
        return out + (banks * delta[:, 1:].unsqueeze(-1)).sum(-2)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.in_channels}, {self.out_channels}, "
            f"group={self.group}, num_banks={self.num_banks}, side='{self.side}')"
        )


def relaxation_penalty(
    model: torch.nn.Module, lifted: Lifted, kind: str = "size"
) -> Tensor:
    r"""The sum of :meth:`RelaxedLieConv.penalty` over all layers of a network.

    It depends on nothing but the parameters and the lifted points given: nothing is
    kept between calls, so that it is the same with and without
    :class:`~torch.nn.parallel.DistributedDataParallel`, which takes the mean of its
    gradients over the processes as of any other loss.

    Args:
        model (torch.nn.Module): The network.
        lifted (Lifted): The lifted points of the examples at hand.
        kind (str, optional): :obj:`"size"` or :obj:`"derivative"`, see
            :meth:`RelaxedLieConv.penalty`. (default: :obj:`"size"`)

    Raises:
        ValueError: If the network has no such layer.

    Example:
        >>> model = LieResNet(3, 1, SE2(), conv=RelaxedLieConv)
        >>> lifted = model.lift(pos, batch)
        >>> loss = F.mse_loss(model(x, lifted=lifted), y)
        >>> loss = loss + beta * relaxation_penalty(model, lifted)
    """
    layers = [m for m in model.modules() if isinstance(m, RelaxedLieConv)]
    if not layers:
        raise ValueError(
            "'model' has no 'RelaxedLieConv': build it with 'conv=RelaxedLieConv'"
        )
    return torch.stack([layer.penalty(lifted, kind) for layer in layers]).sum()
