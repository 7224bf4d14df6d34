"""What dynamics keep: momenta and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.hamiltonian import (
    Dynamics,
    HamiltonianDynamics,
    kinetic_energy,
)
from lieconv_pyg.dynamics.integrate import Trajectory, integrate


def linear_momentum(
    momentum: Tensor, batch: Tensor | None = None, batch_size: int | None = None
) -> Tensor:
    r"""Total linear momentum :math:`\sum_i p_i` of each system.

    Args:
        momentum: Momenta :math:`(N, d)`, or :math:`(N, T, d)` over time.
        batch: The system of each particle :math:`(N)`. (default: one system)
        batch_size: Number of systems, if it is known.

    Shapes:
        - **output:** :math:`(B, d)`, or :math:`(B, T, d)`
    """
    return _sum(momentum, batch, batch_size)


def angular_momentum(
    pos: Tensor,
    momentum: Tensor,
    batch: Tensor | None = None,
    batch_size: int | None = None,
) -> Tensor:
    r"""Total angular momentum :math:`\sum_i q_i \wedge p_i` about the origin of each
    system: in the plane one number, in space a vector, and in :math:`d` dimensions the
    :math:`d (d - 1) / 2` components :math:`q_a p_b - q_b p_a`, :math:`a < b`, that
    there are. In space their order and signs are those of the cross product.

    Args:
        pos: Positions :math:`(N, d)`, or :math:`(N, T, d)` over time.
        momentum: Momenta of the same shape.
        batch: The system of each particle :math:`(N)`. (default: one system)
        batch_size: Number of systems, if it is known.

    Shapes:
        - **output:** :math:`(B, k)`, or :math:`(B, T, k)`, with
          :math:`k = d (d - 1) / 2`
    """
    return _sum(_wedge(pos, momentum), batch, batch_size)


def _wedge(a: Tensor, b: Tensor) -> Tensor:
    dim = a.size(-1)
    if dim == 3:
        return torch.linalg.cross(a, b)
    i, j = torch.triu_indices(dim, dim, 1, device=a.device)
    return a[..., i] * b[..., j] - a[..., j] * b[..., i]


def _sum(value: Tensor, batch: Tensor | None, batch_size: int | None = None) -> Tensor:
    if batch is None:
        return value.sum(0, keepdim=True)
    return scatter(value, batch, 0, batch_size, "sum")


def energy_along(
    dynamics: HamiltonianDynamics,
    x: Tensor,
    pos: Tensor,
    momentum: Tensor,
    batch: Tensor,
    batch_size: int,
) -> Tensor:
    """Energies :math:`(B, T)` along trajectories :math:`(N, T, d)`; NaN at states of
    systems that have diverged."""
    good = (pos.isfinite() & momentum.isfinite()).all(2, keepdim=True)
    q = torch.where(good, pos, pos[:, :1])
    p = torch.where(good, momentum, momentum[:, :1])
    energy = torch.stack(
        [
            dynamics.hamiltonian(x, *state, batch, batch_size)
            for state in zip(q.unbind(1), p.unbind(1), strict=True)
        ],
        dim=1,
    )
    bad = _sum((~good).squeeze(2).long(), batch, batch_size) > 0
    return energy.masked_fill(bad, torch.nan)


class Kept(NamedTuple):
    """How well a quantity is kept, each a number.

    Attributes:
        drift: Largest change along the trajectories, relative.
        rate: Largest rate of change at a state, relative, whatever the integrator.
        kept: Whether the rate is within the precision asked for.
    """

    drift: float
    rate: float
    kept: bool


@dataclass(frozen=True)
class ConservationReport:
    """What :func:`conservation_report` finds.

    Attributes:
        quantities: For each quantity, how well it is kept.
        diverged: Which trajectories diverged, and when; empty if none did.
    """

    quantities: dict[str, Kept]
    diverged: str = ""

    def drift(self, name: str) -> float:
        """The largest drift of the components of ``P``, ``L`` or ``energy``."""
        found = [k.drift for n, k in self.quantities.items() if n.split("_")[0] == name]
        return max(found, default=0.0)

    def __str__(self) -> str:
        lines = [f"{'':18}{'drift':>10}{'rate':>10}"]
        for name, (drift, rate, kept) in self.quantities.items():
            lines.append(
                f"{name:18}{drift:10.1e}{rate:10.1e}  {'kept' if kept else '-'}"
            )
        return "\n".join(lines + [self.diverged] * bool(self.diverged))


@torch.no_grad()
def conservation_report(
    dynamics: Dynamics,
    x: Tensor,
    pos: Tensor,
    momentum: Tensor,
    times: Tensor,
    batch: Tensor | None = None,
    *,
    method: str = "rk4",
    substeps: int = 1,
    num_samples: int = 20,
    precision: float = 1e-9,
) -> ConservationReport:
    r"""Which momenta, and whether the energy, dynamics keep along their trajectories.

    Two measures are taken of each component. The *drift* is its largest change since
    the beginning, over the largest sum of what the particles have of it, such as
    :math:`\max_t | P(t) - P(0) | / \max_t \sum_i \| p_i(t) \|`: it contains the error
    of the integrator. The *rate* does not: at some states of the trajectories, its
    derivative over the sum of what contributes to it, such as
    :math:`| \sum_i \dot p_i | / \sum_i \| \dot p_i \|`. Energies are those that the
    dynamics have themselves, and have parts relative to kinetic energy. Systems that
    diverge count until they do.

    Args:
        dynamics: A network or a :class:`~lieconv_pyg.dynamics.System`; its precision
            should be double.
        x: Parameters :math:`(N, F)` of the particles.
        pos: Initial positions :math:`(N, d)`.
        momentum: Initial momenta :math:`(N, d)`.
        times: Times :math:`(T)` of the states.
        batch: The system of each particle :math:`(N)`. (default: one system)
        method: As for :func:`~lieconv_pyg.dynamics.integrate`.
        substeps: As there.
        num_samples: Number of states at which rates are found.
        precision: The largest rate at which a quantity counts as kept.
    """
    path = integrate(
        dynamics, x, pos, momentum, times, batch, method=method, substeps=substeps
    )
    return conserved_along(dynamics, x, path, batch, num_samples, precision)


@torch.no_grad()
def conserved_along(
    dynamics: Dynamics,
    x: Tensor,
    path: Trajectory,
    batch: Tensor | None = None,
    num_samples: int = 20,
    precision: float = 1e-9,
) -> ConservationReport:
    r"""What :func:`conservation_report` finds, for trajectories that are there.

    Args:
        dynamics: A network or a :class:`~lieconv_pyg.dynamics.System`.
        x: Parameters :math:`(N, F)` of the particles.
        path: The trajectories of these dynamics.
        batch: The system of each particle :math:`(N)`. (default: one system)
        num_samples: Number of states at which rates are found.
        precision: The largest rate at which a quantity counts as kept.
    """
    pos, momentum = path.pos[:, 0], path.momentum[:, 0]
    batch = dynamics.check(x, pos, momentum, batch)
    size = int(batch[-1]) + 1
    last = path.times.numel() - 1
    chosen = torch.linspace(0, last, num_samples).round().long().unique()
    drifts = _drifts(dynamics, x, path.pos, path.momentum, batch, size)
    rates: dict[str, Tensor] = {}
    for k in chosen.tolist():
        fine = path.pos[:, k].isfinite().all(1)
        good = scatter((~fine).long(), batch, 0, size, "sum") == 0
        q, p = (
            torch.where(good[batch, None], now[:, k], start)
            for now, start in ((path.pos, pos), (path.momentum, momentum))
        )
        found = _rates(dynamics, x, q, p, batch, size)
        for name, rate in found.items():
            largest = rate.max()
            rates[name] = torch.maximum(rates.get(name, largest), largest)
    return ConservationReport(
        {
            name: Kept(float(drift), float(rates[name]), bool(rates[name] <= precision))
            for name, drift in drifts.items()
        },
        path.describe(),
    )


def _names(dim: int) -> tuple[list[str], list[str]]:
    axes = "xyz" if dim <= 3 else [str(i + 1) for i in range(dim)]
    linear = [f"P_{axes[i]}" for i in range(dim)]
    if dim == 2:
        return linear, ["L"]
    if dim == 3:
        return linear, [f"L_{axis}" for axis in axes]
    pairs = [(i, j) for i in range(dim) for j in range(i + 1, dim)]
    return linear, [f"L_{axes[i]}{axes[j]}" for i, j in pairs]


def _drifts(
    dynamics: Dynamics,
    x: Tensor,
    pos: Tensor,
    momentum: Tensor,
    batch: Tensor,
    size: int,
) -> dict[str, Tensor]:
    linear, angular = _names(pos.size(2))
    tiny = torch.finfo(pos.dtype).tiny
    found: dict[str, Tensor] = {}
    p = _sum(momentum, batch, size)
    lengths = pos.norm(dim=2), momentum.norm(dim=2)
    of_p, of_l = (
        _sum(v, batch, size).nan_to_num().amax(1).clamp(min=tiny)
        for v in (lengths[1], lengths[0] * lengths[1])
    )
    turn = _wedge(pos, momentum)
    for names, value, scale in (
        (linear, p, of_p),
        (angular, _sum(turn, batch, size), of_l),
    ):
        change = (value - value[:, :1]).abs() / scale.view(-1, 1, 1)
        for name, c in zip(names, change.unbind(2), strict=True):
            found[name] = c.nan_to_num().max()
    if isinstance(dynamics, HamiltonianDynamics):
        kinetic = _sum(kinetic_energy(x, momentum), batch, size)
        scale = kinetic.nan_to_num().amax(1).clamp(min=tiny)
        energy = energy_along(dynamics, x, pos, momentum, batch, size)
        change = (energy - energy[:, :1]).abs() / scale.unsqueeze(1)
        found["energy"] = change.nan_to_num().max()
    return found


def _rates(
    dynamics: Dynamics, x: Tensor, q: Tensor, p: Tensor, batch: Tensor, size: int
) -> dict[str, Tensor]:
    linear, angular = _names(q.size(1))
    tiny = torch.finfo(q.dtype).tiny
    dq, dp = dynamics(x, q, p, batch, size)
    found: dict[str, Tensor] = {}
    of_p = _sum(dp.norm(dim=1), batch, size)
    turn = _wedge(dq, p) + _wedge(q, dp)
    of_l = dq.norm(dim=1) * p.norm(dim=1) + q.norm(dim=1) * dp.norm(dim=1)
    for names, value, scale in (
        (linear, dp, of_p),
        (angular, turn, _sum(of_l, batch, size)),
    ):
        rate = _sum(value, batch, size).abs() / scale.clamp(min=tiny).unsqueeze(1)
        for name, r in zip(names, rate.unbind(1), strict=True):
            found[name] = r
    if isinstance(dynamics, HamiltonianDynamics):
        with torch.enable_grad():
            q, p = q.detach().requires_grad_(), p.detach().requires_grad_()
            energy = dynamics.hamiltonian(x, q, p, batch, size).sum()
            by_q, by_p = torch.autograd.grad(
                energy, (q, p), allow_unused=True, materialize_grads=True
            )
        parts = (by_q * dq).sum(1), (by_p * dp).sum(1)
        of_e = _sum(parts[0].abs() + parts[1].abs(), batch, size).clamp(min=tiny)
        found["energy"] = _sum(parts[0] + parts[1], batch, size).abs() / of_e
    return found
