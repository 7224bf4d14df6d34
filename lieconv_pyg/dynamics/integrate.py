"""Trajectories of particles from their dynamics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics.hamiltonian import Dynamics, SeparableDynamics
from lieconv_pyg.groups.checks import positive

#: Of torchdiffeq, with a step size chosen by its error.
ADAPTIVE = ("dopri5", "dopri8")
#: Symplectic: shares of a step in which positions move, of an integrator that ends
#: each of them with the second half of a kick.
SYMPLECTIC = {
    "leapfrog": (1.0,),
    # Yoshida, Physics Letters A 150 (1990), Equation 2.11
    "yoshida4": (
        1 / (2 - 2 ** (1 / 3)),
        -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)),
        1 / (2 - 2 ** (1 / 3)),
    ),
}
METHODS = ("rk4", *ADAPTIVE, *SYMPLECTIC)

_LIMIT = 1e6  # of a state, in units of the largest number it began with

Derivative = Callable[[Tensor, Tensor], Tensor]


class Trajectory(NamedTuple):
    r"""The states of particles over time.

    Shapes:
        - **pos:** positions :math:`(N, T, d)`
        - **momentum:** momenta :math:`(N, T, d)`
        - **times:** :math:`(T)`
        - **diverged_at:** :math:`(B)`, the time at which a system left all bounds, from
          which on its states are NaN; NaN where it did not
    """

    pos: Tensor
    momentum: Tensor
    times: Tensor
    diverged_at: Tensor

    def describe(self) -> str:
        """Which systems diverged, and when; empty if none did."""
        times = self.diverged_at[~self.diverged_at.isnan()]
        if not times.numel():
            return ""
        return (
            f"{times.numel()} of {self.diverged_at.numel()} systems diverged, the "
            f"first at t = {float(times.min()):.4g}"
        )


def integrate(
    dynamics: Dynamics,
    x: Tensor,
    pos: Tensor,
    momentum: Tensor,
    times: Tensor,
    batch: Tensor | None = None,
    *,
    method: str = "rk4",
    substeps: int = 1,
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> Trajectory:
    r"""Integrates the dynamics of systems from an initial state.

    Systems do not see each other: where one diverges, the others go on.

    Args:
        dynamics: A :class:`~lieconv_pyg.dynamics.System` or a network.
        x: Parameters :math:`(N, F)` of the particles.
        pos: Initial positions :math:`(N, d)`.
        momentum: Initial momenta :math:`(N, d)`.
        times: The times :math:`(T)` at which states are wanted; the initial state is
            that of the first.
        batch: The system of each particle :math:`(N)`. (default: one system)
        method: :obj:`"rk4"`, of order 4 in fixed steps; :obj:`"dopri5"` or
            :obj:`"dopri8"` (of torchdiffeq), with steps chosen so that the error of
            every system stays within the tolerance; or, symplectic and only where
            the kinetic energy is :math:`\sum p^2 / 2 m`, :obj:`"leapfrog"` of order 2
            and :obj:`"yoshida4"` of order 4.
        substeps: Steps between two times, of the methods with fixed steps.
        rtol: Relative tolerance of the others.
        atol: Their absolute tolerance.

    Raises:
        ValueError: If the state is not one (see :meth:`Dynamics.check`), times do not
            increase, or the method is unknown or does not suit the dynamics.
        RuntimeError: If the tolerance asks for steps that vanish, as where particles
            meet.
    """
    batch = dynamics.check(x, pos, momentum, batch)
    check_times(times)
    check_method(method, dynamics)
    positive(substeps, "substeps")
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"'rtol' and 'atol' must be positive (got {rtol} and {atol})")
    batch_size = int(batch[-1]) + 1
    state = torch.cat([pos, momentum], dim=1)
    guard = _Guard(dynamics, x, batch, batch_size, state)
    if method in SYMPLECTIC:
        states = _symplectic(guard, state, times, SYMPLECTIC[method], substeps)
    else:
        states = solve(guard, state, times, method, substeps, rtol, atol, guard.norm)
    late = times.view(-1, 1) >= guard.diverged_at  # (T, B)
    late[0] = False  # where it begins is known
    states = states.masked_fill(late[:, batch].unsqueeze(2), torch.nan)
    q, p = states.transpose(0, 1).chunk(2, dim=2)
    return Trajectory(q, p, times, guard.diverged_at)


def solve(
    derivative: Derivative,
    state: Tensor,
    times: Tensor,
    method: str = "rk4",
    substeps: int = 1,
    rtol: float = 1e-9,
    atol: float = 1e-9,
    norm: Callable[[Tensor], Tensor] | None = None,
    recompute: Iterable[Tensor] | None = None,
) -> Tensor:
    r"""States :math:`(T, N, 2 d)` at the times, by torchdiffeq, differentiable; where
    the parameters of the derivative are given as :obj:`recompute`, it is computed once
    more for the gradient, and what it is made of is not kept."""
    from torchdiffeq import odeint

    function = derivative
    if recompute is not None:
        parameters = [p for p in recompute if p.requires_grad]

        def function(t: Tensor, z: Tensor) -> Tensor:
            return _Recomputed.apply(derivative, t, z, *parameters)

    options: dict[str, Any] = {}
    if method in ADAPTIVE:
        # Steps end at the times: between them torchdiffeq is of order 4 only.
        options = {"step_t": times} | ({"norm": norm} if norm else {})
    elif substeps > 1:
        share = torch.arange(substeps, dtype=times.dtype, device=times.device)
        inner = times[:-1, None] + times.diff()[:, None] * share / substeps
        grid = torch.cat([inner.flatten(), times[-1:]])
        options = {"grid_constructor": lambda *_: grid}
    try:
        return odeint(
            function,
            state,
            times,
            rtol=rtol,
            atol=atol,
            method=method,
            options=options,
        )
    except AssertionError as error:
        if method not in ADAPTIVE:
            raise
        raise RuntimeError(
            f"the steps that a relative tolerance of {rtol:g} asks for vanish ("
            f"{error}): do particles meet? Give the system a softening, or a larger "
            "tolerance"
        ) from error


class _Recomputed(torch.autograd.Function):
    """A derivative of which only state and parameters are kept, once differentiable.
    (:func:`torch.utils.checkpoint.checkpoint` computes one that is a gradient twice
    more.)"""

    @staticmethod
    def forward(
        ctx: Any,
        derivative: Derivative,
        time: Tensor,
        state: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.derivative = derivative
        kind = state.device.type
        ctx.autocast = dict(
            device_type=kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
        )
        ctx.save_for_backward(time, state, *parameters)
        return derivative(time, state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        time, state, *parameters = ctx.saved_tensors
        with torch.enable_grad(), torch.autocast(**ctx.autocast):
            state = state.detach().requires_grad_()
            out = ctx.derivative(time, state)
        inputs = (state, *parameters)
        return None, None, *torch.autograd.grad(out, inputs, grad, allow_unused=True)


def _symplectic(
    guard: _Guard,
    state: Tensor,
    times: Tensor,
    shares: tuple[float, ...],
    substeps: int,
) -> Tensor:
    """States at the times, by kick, drift and kick, once for each share of a step."""
    q, p = state.chunk(2, dim=1)
    states = [state]
    force = guard.force(times[0], q)
    for start, step in zip(times[:-1], times.diff() / substeps, strict=True):
        for count in range(substeps):
            for h in (step * share for share in shares):
                p = p + h / 2 * force
                q = q + h * guard.velocity(p)
                force = guard.force(start + (count + 1) * step, q)
                p = p + h / 2 * force
        states.append(torch.cat([q, p], dim=1))
    return torch.stack(states)


class _Guard:
    """The derivative of states, which holds systems where they are once they leave all
    bounds, and remembers when they did."""

    def __init__(
        self,
        dynamics: Dynamics,
        x: Tensor,
        batch: Tensor,
        batch_size: int,
        state: Tensor,
    ) -> None:
        self.dynamics, self.x = dynamics, x
        self.batch, self.batch_size = batch, batch_size
        largest = scatter(state.detach().abs().amax(1), batch, 0, batch_size, "max")
        self.limit = _LIMIT * largest.clamp(min=1)
        self.start = state.detach()
        self.diverged_at = torch.full_like(self.limit, torch.nan, dtype=torch.double)

    def norm(self, z: Tensor) -> Tensor:
        """The root mean square of the system where it is largest."""
        mean = scatter(z.square().mean(1), self.batch, 0, self.batch_size, "mean")
        return mean.max().sqrt()

    def __call__(self, t: Tensor, z: Tensor) -> Tensor:
        q, p = self._held(t, z).chunk(2, dim=1)
        args = (self.batch, self.batch_size)
        found = torch.cat(self.dynamics.derivative(self.x, q, p, *args), dim=1)
        return self._moving(t, found)

    def velocity(self, p: Tensor) -> Tensor:
        assert isinstance(self.dynamics, SeparableDynamics)
        velocity = self.dynamics.velocity(self.x, p)
        return torch.where(self._out(), 0.0, velocity)

    def force(self, t: Tensor, q: Tensor) -> Tensor:
        assert isinstance(self.dynamics, SeparableDynamics)
        q = self._held(t, q)
        force = self.dynamics.force(self.x, q, self.batch, self.batch_size)
        return self._moving(t, force)

    def _held(self, t: Tensor, z: Tensor) -> Tensor:
        """The state, with systems that are out of bounds where they began."""
        self._note(t, (z.detach().abs() <= self.limit[self.batch, None]).all(1))
        return torch.where(self._out(), self.start[:, : z.size(1)], z)

    def _moving(self, t: Tensor, derivative: Tensor) -> Tensor:
        """The derivative, 0 for systems that are out of bounds."""
        self._note(t, derivative.detach().isfinite().all(1))
        return torch.where(self._out(), 0.0, derivative)

    def _out(self) -> Tensor:
        return (~self.diverged_at.isnan())[self.batch].unsqueeze(1)

    def _note(self, t: Tensor, good: Tensor) -> None:
        """Remembers the time for systems that have a particle that is not good."""
        if bool(good.all()):
            return
        bad = torch.zeros_like(self.diverged_at, dtype=torch.bool)
        bad[self.batch[~good]] = True
        new = bad & self.diverged_at.isnan()
        time = t.to(self.diverged_at.dtype)
        self.diverged_at = torch.where(new, time, self.diverged_at)


def check_times(times: Tensor) -> None:
    r"""Checks times.

    Raises:
        TypeError: If they are no tensor of floating-point numbers.
        ValueError: If they are fewer than two, not finite, or do not increase.
    """
    if not isinstance(times, Tensor) or not times.is_floating_point():
        raise TypeError("'times' must be a floating-point tensor of shape (times,)")
    if times.dim() != 1 or times.numel() < 2:
        raise ValueError(
            f"'times' must be of shape (times,), two at least (got "
            f"{tuple(times.shape)})"
        )
    if not bool(times.isfinite().all()):
        raise ValueError("'times' has NaN or infinite numbers")
    late = (times.diff() <= 0).nonzero().view(-1)
    if late.numel():
        at = int(late[0])
        raise ValueError(
            f"'times' must increase: number {at + 1} is {float(times[at + 1]):g}, "
            f"after {float(times[at]):g}"
        )


def check_method(method: str, dynamics: Dynamics) -> None:
    r"""Checks an integrator.

    Raises:
        ValueError: If it does not exist, or is none for the dynamics.
    """
    if method not in METHODS:
        raise ValueError(
            f"'method' must be one of {', '.join(METHODS)} (got {method!r})"
        )
    if method in SYMPLECTIC and not dynamics.is_separable:
        raise ValueError(
            f"{method!r} needs a kinetic energy of p^2 / 2 m and a potential, which "
            f"{dynamics} does not have: take 'rk4' or 'dopri8'"
        )
