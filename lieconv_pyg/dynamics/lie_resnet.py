"""LieResNet for dynamics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.hamiltonian import (
    Dynamics,
    SeparableDynamics,
    centered,
    one_system,
)
from lieconv_pyg.dynamics.particle_frames import particle_frames
from lieconv_pyg.groups import SE2, SE3, SO2, SO3, LieGroup, SmoothSO
from lieconv_pyg.groups.resolver import check_group
from lieconv_pyg.lifting import Lifted, lift
from lieconv_pyg.nn import LieResNet
from lieconv_pyg.nn.group_neighborhood import Envelope
from lieconv_pyg.nn.swish import Swish


class _LieDynamics(Dynamics):
    """A LieResNet on the particles' parameters, with lifts that never change."""

    #: Whether outputs are energies, which must not jump where an angle does.
    smooth = False

    def __init__(
        self,
        group: LieGroup,
        num_params: int,
        out_channels: int,
        center: bool,
        num_lifts: int,
        fill: float | Sequence[float],
        radius: float | Sequence[float] | None,
        envelope: Envelope,
        act: str | Callable | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(group.space_dim, num_params, center=center)
        for name in ("num_neighbors", "eval_num_neighbors", "ratio", "k"):
            whole = 1 if name == "ratio" else None
            if kwargs.get(name) not in (None, whole):
                raise ValueError(
                    f"'{name}' is not for dynamics: an energy must be a smooth "
                    "function of all particles. Take 'fill' or 'radius', where there "
                    "are too many"
                )
        self.group = group
        self.num_lifts = num_lifts
        if envelope is None and (radius is not None or fill != 1.0):
            envelope = True  # neighbourhoods end smoothly, where they do
        turns = self.smooth and isinstance(group, SO2 | SO3)
        self.net = LieResNet(
            num_params,
            out_channels,
            SmoothSO(group.space_dim, group.alpha) if turns else group,
            num_lifts=num_lifts,
            fill=fill,
            radius=radius,
            envelope=envelope,
            act=Swish() if act == "swish" else act,
            **kwargs,
        )

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.net.reset_parameters()

    def calibrate(self, pos: Tensor, batch: Tensor | None = None) -> None:
        r"""Sets the radii from :obj:`fill`, with some typical systems."""
        batch = one_system(pos) if batch is None else batch
        pos = self.centered(pos, batch, int(batch[-1]) + 1)
        self.net.calibrate(pos, batch)

    def _lifted(self, pos: Tensor, batch: Tensor) -> Lifted:
        return lift(self.net.group, pos, batch, self.num_lifts, fixed=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.group})"


class HLieResNet(_LieDynamics, SeparableDynamics):
    r"""Hamiltonian LieResNet of `"Generalizing Convolutional Neural Networks for
    Equivariance to Lie Groups on Arbitrary Continuous Data"
    <https://arxiv.org/abs/2002.12880>`_ (Section 6.3):

    .. math::
        H(q, p) = \sum_i \frac{\| p_i \|^2}{2 m_i} + V(q - \bar q)

    with a potential :math:`V` that is a :class:`~lieconv_pyg.nn.LieResNet` on the
    particles' parameters. Where the group leaves :math:`V` as it is, the momentum of
    that symmetry is conserved (Noether): the linear momentum for translations, or with
    :obj:`center`; the angular momentum for rotations.

    The potential is twice differentiable, so that SE(2) and SE(3) can be trained:

    - SO(2) and SO(3) compare pairs by the polynomials in their positions that no
      rotation changes (:class:`~lieconv_pyg.groups.SmoothSO`), since angles jump where
      two particles are opposite;
    - lifts to SE(2) and SE(3) are the same at all times. With :obj:`lift="particles"`
      the potential is a mean over frames of the particles
      (:func:`~lieconv_pyg.dynamics.particle_frames`), by which rotations are an exact
      symmetry, smooth but where all particles meet or, in space, are on one line; with
      :obj:`lift="fixed"` they are one as far as :obj:`num_lifts` rotations stand for
      all: in the plane the rest falls exponentially;
    - neighbourhoods, where they end, end smoothly.

    Args:
        group (LieGroup): The group.
        num_params (int, optional): Parameters of each particle, of which the first is
            the mass. (default: :obj:`2`)
        hidden_channels (int, optional): Width. (default: :obj:`384`)
        num_layers (int, optional): Number of blocks. (default: :obj:`4`)
        center (bool, optional): Whether the mean of the positions is subtracted.
            (default: :obj:`True`)
        lift (str, optional): :obj:`"fixed"`, or :obj:`"particles"` for SE(2) and
            SE(3). (default: :obj:`"particles"` for these)
        num_lifts (int, optional): Lifts of each particle to SE(2) or SE(3), in each
            frame. (default: :obj:`1`)
        pool (str, optional): :obj:`"mean"` or :obj:`"sum"` over particles.
            (default: :obj:`"mean"`)
        fill (float or Sequence[float], optional): As for
            :class:`~lieconv_pyg.nn.LieResNet`. (default: :obj:`1.0`, all particles)
        radius (float or Sequence[float], optional): As there. (default: :obj:`None`)
        envelope (optional): As there; by default neighbourhoods end smoothly, where
            they do.
        act (str or Callable, optional): The activation. (default: :obj:`"swish"`)
        norm (str, optional): The norm. (default: :obj:`None`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieResNet`.

    Raises:
        ValueError: If the arguments do not go together.
    """

    smooth = True

    def __init__(
        self,
        group: LieGroup,
        num_params: int = 2,
        hidden_channels: int = 384,
        num_layers: int = 4,
        center: bool = True,
        lift: Literal["fixed", "particles"] | None = None,
        num_lifts: int = 1,
        pool: Literal["mean", "sum"] = "mean",
        fill: float | Sequence[float] = 1.0,
        radius: float | Sequence[float] | None = None,
        envelope: Envelope = None,
        act: str | Callable | None = "swish",
        norm: str | None = None,
        **kwargs: Any,
    ) -> None:
        moves = isinstance(check_group(group), SE2 | SE3)
        if lift is None:
            lift = "particles" if moves else "fixed"
        if lift not in ("fixed", "particles"):
            raise ValueError(f"'lift' must be 'fixed' or 'particles' (got {lift!r})")
        if lift == "particles" and not moves:
            raise ValueError(
                f"{group} has no frames of particles: leave out 'lift', or take SE2 or "
                "SE3"
            )
        if pool not in ("mean", "sum"):
            raise ValueError(f"'pool' must be 'mean' or 'sum' (got {pool!r})")
        super().__init__(
            group,
            num_params,
            1,
            center,
            num_lifts,
            fill,
            radius,
            envelope,
            act,
            norm=norm,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            pool=pool,
            **kwargs,
        )
        self.lift = lift

    def potential(
        self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        if self.lift == "fixed":
            pos = self.centered(pos, batch, batch_size)
            return self._energy(x, pos, batch, batch_size)
        frames = particle_frames(centered(pos, batch, batch_size), batch, batch_size)
        num_frames = frames.weight.numel()
        energy = self._energy(x[frames.point], frames.pos, frames.frame, num_frames)
        weighted = frames.weight * energy
        return scatter(weighted, frames.example, 0, batch_size, "sum")

    def _energy(self, x: Tensor, pos: Tensor, batch: Tensor, batch_size: int) -> Tensor:
        lifted = self._lifted(pos, batch)
        return self.net(x, lifted=lifted, batch_size=batch_size).squeeze(1)


class FLieResNet(_LieDynamics):
    r"""LieResNet that gives the derivatives of positions and momenta directly: a
    baseline for :class:`HLieResNet`, which conserves nothing.

    Momenta are features of the particles, and derivatives vectors at them, both seen
    from the frames of the lifted points, so that the group is a symmetry of the
    dynamics: exactly, or for SE(2), SE(3) and SO(3) as far as :obj:`num_lifts` fixed
    rotations stand for all.

    Args:
        group (LieGroup): The group.
        num_params (int, optional): Parameters of each particle, of which the first is
            the mass. (default: :obj:`2`)
        hidden_channels (int, optional): Width. (default: :obj:`384`)
        num_layers (int, optional): Number of blocks. (default: :obj:`4`)
        center (bool, optional): Whether the mean of the positions is subtracted.
            (default: :obj:`True`)
        num_lifts (int, optional): Lifts of each particle. (default: :obj:`1`)
        fill (float or Sequence[float], optional): As for :class:`HLieResNet`.
            (default: :obj:`1.0`)
        radius (float or Sequence[float], optional): As there. (default: :obj:`None`)
        envelope (optional): As there.
        act (str or Callable, optional): As there. (default: :obj:`"swish"`)
        norm (str, optional): As there. (default: :obj:`None`)
        **kwargs (optional): Further arguments of :class:`~lieconv_pyg.nn.LieResNet`.
    """

    def __init__(
        self,
        group: LieGroup,
        num_params: int = 2,
        hidden_channels: int = 384,
        num_layers: int = 4,
        center: bool = True,
        num_lifts: int = 1,
        fill: float | Sequence[float] = 1.0,
        radius: float | Sequence[float] | None = None,
        envelope: Envelope = None,
        act: str | Callable | None = "swish",
        norm: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            check_group(group),
            num_params,
            2,
            center,
            num_lifts,
            fill,
            radius,
            envelope,
            act,
            norm=norm,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            pool=None,
            in_vectors=1,
            out_vectors=True,
            **kwargs,
        )

    def derivative(
        self, x: Tensor, pos: Tensor, momentum: Tensor, batch: Tensor, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        pos = self.centered(pos, batch, batch_size)
        lifted = self._lifted(pos, batch)
        vectors = momentum.unsqueeze(1)
        out = self.net(x, lifted=lifted, vectors=vectors, batch_size=batch_size)
        return out[:, 0], out[:, 1]
