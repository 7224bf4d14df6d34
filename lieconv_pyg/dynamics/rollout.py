"""How far learned dynamics go with the true ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.conserved import (
    angular_momentum,
    energy_along,
    linear_momentum,
)
from lieconv_pyg.dynamics.hamiltonian import (
    Dynamics,
    HamiltonianDynamics,
    kinetic_energy,
    one_system,
)
from lieconv_pyg.dynamics.integrate import Trajectory, integrate


class RolloutErrors(NamedTuple):
    r"""Errors of rollouts over time. Where a rollout has diverged they are NaN.

    Shapes:
        - **times:** :math:`(T)`, since the beginning of each trajectory
        - **state:** root mean square of what positions and momenta are off by,
          :math:`(B, T)`
        - **energy:** of the true energy along the rollout, its change since the
          beginning over the largest kinetic energy of the true trajectory,
          :math:`(B, T)`
        - **linear:** length of the change of the total linear momentum,
          :math:`(B, T)`
        - **angular:** length of the change of the total angular momentum about the
          origin, :math:`(B, T)`
        - **diverged_at:** :math:`(B)`, as of
          :class:`~lieconv_pyg.dynamics.Trajectory`
    """

    times: Tensor
    state: Tensor
    energy: Tensor
    linear: Tensor
    angular: Tensor
    diverged_at: Tensor


@torch.no_grad()
def rollout(
    dynamics: Dynamics, data: Data, method: str = "rk4", substeps: int = 1
) -> Trajectory:
    r"""Follows dynamics from the first states of trajectories, at their times.

    Args:
        dynamics: A network or a :class:`~lieconv_pyg.dynamics.System`.
        data: An item of :class:`~lieconv_pyg.dynamics.Trajectories`, or a batch of
            some with the same steps.
        method: As for :func:`~lieconv_pyg.dynamics.integrate`.
        substeps: As there.

    Raises:
        ValueError: If the trajectories do not have the same steps.
    """
    like = next(iter(dynamics.parameters()), data.pos)
    x, pos, momentum = (
        value.to(like) for value in (data.x, data.pos[:, 0], data.momentum[:, 0])
    )
    times = common_times(data).to(like.device)
    batch = None if data.batch is None else data.batch.to(like.device)
    return integrate(
        dynamics, x, pos, momentum, times, batch, method=method, substeps=substeps
    )


def common_times(data: Data) -> Tensor:
    r"""Times :math:`(T)` since the beginning, the same for all trajectories.

    Raises:
        ValueError: If their steps differ.
    """
    times = data.t - data.t[:, :1]
    if bool((times - times[0]).abs().max() > 1e-6 * times[0, -1]):
        raise ValueError(
            "the trajectories of a batch must have the same steps (got "
            f"{[round(float(step), 9) for step in times[:, 1].unique()[:3]]} ...)"
        )
    return times[0]


@torch.no_grad()
def rollout_errors(
    found: Trajectory, system: HamiltonianDynamics, data: Data
) -> RolloutErrors:
    r"""Compares the rollouts of a network with true trajectories.

    Args:
        found: What :func:`rollout` returns.
        system: The true system, which has the energy.
        data: The true trajectories, as of :class:`~lieconv_pyg.dynamics.Trajectories`
            with :obj:`chunk=None`.
    """
    q, p = found.pos.to(data.pos), found.momentum.to(data.pos)
    batch = one_system(q) if data.batch is None else data.batch
    size = int(batch[-1]) + 1
    off = torch.cat([q - data.pos, p - data.momentum], dim=2)
    energy = energy_along(system, data.x, q, p, batch, size)
    kinetic = scatter(kinetic_energy(data.x, data.momentum), batch, 0, size, "sum")
    linear = linear_momentum(p, batch, size)
    angular = angular_momentum(q, p, batch, size)
    return RolloutErrors(
        found.times.to(q.device),
        scatter(off.square().mean(2), batch, 0, size, "mean").sqrt(),
        (energy - energy[:, :1]).abs() / kinetic.amax(1, keepdim=True),
        (linear - linear[:, :1]).norm(dim=2),
        (angular - angular[:, :1]).norm(dim=2),
        found.diverged_at.to(q.device),
    )
