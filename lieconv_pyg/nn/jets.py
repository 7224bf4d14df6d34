from typing import Any, Optional

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.groups import LieGroup, Lorentz
from lieconv_pyg.groups.checks import positive
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import jet_frame
from lieconv_pyg.nn.inputs import check_momenta
from lieconv_pyg.nn.lie_resnet import LieResNet


class JetLieResNet(torch.nn.Module):
    r"""LieResNet on jets of particles, in the rest frame of each jet.

    With the momentum :math:`P = \sum_i p_i` of a jet, its mass :math:`M` and the boost
    :math:`B(P)` that takes :math:`(M, 0, 0, 0)` to :math:`P`, constituents are points

    .. math::
        p_i' = B(P)^{-1} p_i = (E_i', \mathbf{p}_i')

    at :math:`\mathbf{p}_i'`, or in the direction of it, with the features
    :math:`\log(E_i' / M)` and :math:`\log M`. In another frame all
    :math:`\mathbf{p}_i'` are turned by one rotation, and nothing else changes, whatever
    the masses of the constituents are. Hence a network that is invariant to rotations,
    such as one of SO(3) or SE(3) with :obj:`lift="frames"`, is here invariant to boosts
    and rotations, in evaluation up to rounding.

    With the :class:`~lieconv_pyg.groups.Lorentz` group points are four-momenta,
    :math:`p_i' + \epsilon (M, \mathbf{0})`, which have a mass and so a lift, see
    :func:`~lieconv_pyg.lifting.massive_surrogate`.

    Momenta are boosted in float64, whatever the weights are in.

    Args:
        group (LieGroup): A group that acts on space and has its rotations:
            :obj:`SO3()` or :obj:`SE3()`; or :obj:`Lorentz()`. With others, such as
            :obj:`T(3)`, outputs depend on the frame in which the momenta are given.
        out_channels (int, optional): Outputs of each jet. (default: :obj:`2`)
        hidden_channels (int, optional): Width. (default: :obj:`64`)
        num_layers (int, optional): Number of blocks. (default: :obj:`4`)
        lift (str, optional): :obj:`"frames"`, or :obj:`"haar"`, with which outputs are
            invariant in the mean over lifts alone. (default: :obj:`"frames"`)
        pos_scale (float, optional): Momenta are divided by it. A :obj:`radius` is in
            the units of the scaled momenta. (default: :obj:`20.0`, for GeV)
        points (str, optional): :obj:`"momenta"`, or :obj:`"directions"` for
            :math:`\mathbf{p}_i' / |\mathbf{p}_i'|`. (default: :obj:`"momenta"`)
        eps (float, optional): The share :math:`\epsilon`, for the Lorentz group.
            (default: :obj:`0.05`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieResNet`,
            such as :obj:`num_neighbors` or :obj:`fill`.

    Shapes:
        - **input:** four-momenta :math:`(E, p_x, p_y, p_z)`, :math:`(N, 4)`, batch
          vector :math:`(N)` *(optional)*
        - **output:** :math:`(B, F_{out})`

    Raises:
        ValueError: If an argument is out of range, or the group does not act on space.
    """

    def __init__(
        self,
        group: LieGroup,
        out_channels: int = 2,
        hidden_channels: int = 64,
        num_layers: int = 4,
        lift: str = "frames",
        pos_scale: float = 20.0,
        points: str = "momenta",
        eps: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.massive = isinstance(check_group(group), Lorentz)
        if group.space_dim != 3 and not self.massive:
            raise ValueError(
                f"jets need a group that acts on space, such as 'SO3()' or 'SE3()', or "
                f"'Lorentz()'; {group} acts on {group.space_dim} dimensions"
            )
        if self.massive and points != "momenta":
            raise ValueError("'points' must be 'momenta' for the Lorentz group")
        if not eps > 0:
            raise ValueError(f"'eps' must be positive (got {eps})")
        if points not in ("momenta", "directions"):
            raise ValueError(
                f"'points' must be 'momenta' or 'directions' (got {points!r})"
            )
        if not pos_scale > 0:
            raise ValueError(f"'pos_scale' must be positive (got {pos_scale})")
        self.out_channels = positive(out_channels, "out_channels")
        self.pos_scale = pos_scale
        self.points, self.eps = points, eps
        self.net = LieResNet(
            2,
            out_channels,
            group,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            lift=lift,
            **kwargs,
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.net.reset_parameters()

    @torch.no_grad()
    def calibrate(self, pos: Tensor, batch: Optional[Tensor] = None) -> None:
        r"""Sets the radii from :obj:`fill`, with some typical jets.

        Args:
            pos: Four-momenta :math:`(N, 4)`.
            batch: Batch vector :math:`(N)`.
        """
        pos, batch, size = check_momenta(pos, batch, None)
        self.net.calibrate(self._at_rest(pos, batch, size)[1], batch)

    def _at_rest(self, pos: Tensor, batch: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Features and points of constituents in the rest frames of their jets, in the
        weights' precision."""
        pos = jet_frame(pos / self.pos_scale, batch)
        energy = pos[:, 0].clamp(min=1e-12)
        mass = scatter(pos[:, 0], batch, 0, size, "sum")[batch]
        x = torch.stack([(energy / mass).log(), mass.log()], dim=1)
        at = pos[:, 1:]
        if self.massive:
            at = torch.cat([(energy + self.eps * mass).unsqueeze(1), at], dim=1)
        if self.points == "directions":
            at = at / at.norm(dim=1, keepdim=True).clamp(min=1e-12)
        dtype = self.net.lin_in.weight.dtype
        return x.to(dtype), at.to(dtype)

    def forward(
        self,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        batch_size: Optional[int] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Tensor:
        r"""Applies the network.

        Args:
            pos: Four-momenta :math:`(N, 4)`.
            batch: Batch vector :math:`(N)`, sorted.
            batch_size: Number of jets, if it is known.
            generator: Draws lifts and neighbours in training.

        Raises:
            ValueError: If a jet has no rest frame, or a particle less energy than
                momentum.
        """
        pos, batch, size = check_momenta(pos, batch, batch_size)
        x, at = self._at_rest(pos, batch, size)
        return self.net(x, at, batch, batch_size=size, generator=generator)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.net})"
