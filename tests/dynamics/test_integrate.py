"""Integrators against motions that are known."""

import math

import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics import HFC, OGN, Gravity, Springs, System, integrate
from lieconv_pyg.dynamics.integrate import ADAPTIVE, METHODS, SYMPLECTIC

from .conftest import make_state


class Oscillators(System):
    """H = p^2 / 2 m + k q^2 / 2 for each particle, with frequency sqrt(k / m)."""

    param_names = ("mass", "stiffness")

    def potential(self, x, pos, batch, batch_size):
        energy = 0.5 * x[:, 1] * pos.square().sum(1)
        return scatter(energy, batch, 0, batch_size, "sum")

    def draw(self, num_particles, generator):
        shape = (2, num_particles, self.space_dim)
        q, p = torch.randn(shape, generator=generator, dtype=torch.double)
        x = 0.5 + torch.rand(num_particles, 2, generator=generator, dtype=torch.double)
        return x, q, p


def exact(x, q, p, t):
    """The oscillators' states (N, T, d)."""
    frequency = (x[:, 1] / x[:, 0]).sqrt().view(-1, 1, 1)
    angle = frequency * t.view(1, -1, 1)
    q, p, speed = q.unsqueeze(1), p.unsqueeze(1), frequency * x[:, :1].unsqueeze(2)
    return (
        q * angle.cos() + p / speed * angle.sin(),
        p * angle.cos() - speed * q * angle.sin(),
    )


@pytest.mark.parametrize("method", METHODS)
def test_oscillators(method):
    x, q, p, batch = make_state(Oscillators(3, (1, 4)))
    times = torch.tensor([0.5, 0.7, 1.4, 4.0], dtype=torch.double)
    found = integrate(
        Oscillators(3), x, q, p, times, batch, method=method, substeps=400
    )
    expected = exact(x, q, p, times - 0.5)
    tol = 1e-4 if method == "leapfrog" else 1e-7
    torch.testing.assert_close((found.pos, found.momentum), expected, rtol=0, atol=tol)
    assert found.times.equal(times)
    assert found.diverged_at.isnan().all() and found.describe() == ""


@pytest.mark.parametrize("method,order", [("leapfrog", 2), ("yoshida4", 4), ("rk4", 4)])
def test_order_of_convergence(method, order):
    """Half the step, a 2^order-th of the error."""
    x, q, p, batch = make_state(Oscillators())
    times = torch.tensor([0.0, 1.0, 2.0], dtype=torch.double)
    expected, _ = exact(x, q, p, times)
    errors = []
    for substeps in (20, 40):
        found = integrate(
            Oscillators(), x, q, p, times, batch, method=method, substeps=substeps
        )
        errors.append(float((found.pos - expected).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_tolerance(method):
    """The error of every system is of the size asked for, whatever its batch."""
    x, q, p, batch = make_state(Oscillators(), num_systems=2)
    first = batch == 0
    q, p = (
        torch.where(first[:, None], 1e-4 * q, q),
        torch.where(first[:, None], 1e-4 * p, p),
    )
    times = torch.linspace(0, 5, 11, dtype=torch.double)
    expected, _ = exact(x, q, p, times)
    for tol in (1e-5, 1e-9):
        found = integrate(
            Oscillators(),
            x,
            q,
            p,
            times,
            batch,
            method=method,
            rtol=tol,
            atol=1e-4 * tol,
        )
        error = (found.pos - expected).abs()
        assert error[~first].max() < 30 * tol
        assert error[first].max() < 30e-4 * tol * 10


def test_kepler_orbit():
    """An ellipse of eccentricity 0.5 closes after its period."""
    e, big, small = 0.5, 1.0, 1e-3
    x = torch.tensor([[big], [small]], dtype=torch.double)
    mu, total = big * small / (big + small), big + small
    q = torch.tensor([[0.0, 0.0], [1 - e, 0.0]], dtype=torch.double)
    speed = math.sqrt(total * (1 + e) / (1 - e))
    p = torch.tensor([[0.0, -mu * speed], [0.0, mu * speed]], dtype=torch.double)
    period = 2 * math.pi / math.sqrt(total)
    times = torch.tensor([0, period / 2, period], dtype=torch.double)
    found = integrate(
        Gravity(2), x, q, p, times, method="dopri8", rtol=1e-11, atol=1e-11
    )
    apart = found.pos[1] - found.pos[0]
    expected = torch.tensor([[1 - e, 0], [-1 - e, 0], [1 - e, 0]], dtype=torch.double)
    torch.testing.assert_close(apart, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", SYMPLECTIC)
def test_time_reversal_and_energy(method):
    """Symplectic: back to the start with reversed momenta; energies do not drift."""
    system = Springs()
    x, q, p, batch = make_state(system)
    times = torch.linspace(0, 10, 101, dtype=torch.double)
    run = integrate(system, x, q, p, times, batch, method=method, substeps=25)
    back = integrate(
        *(system, x, run.pos[:, -1], -run.momentum[:, -1], times, batch),
        method=method,
        substeps=25,
    )
    torch.testing.assert_close(back.pos[:, -1], q, rtol=0, atol=1e-9)
    energy = torch.stack(
        [
            system.hamiltonian(x, a, b, batch, 3)
            for a, b in zip(run.pos.unbind(1), run.momentum.unbind(1), strict=True)
        ]
    )
    late = (energy[50:].mean(0) / energy[:50].mean(0) - 1).abs()
    assert late.max() < 2e-3


def test_systems_do_not_see_each_other():
    system = Springs(num_particles=(2, 5))
    x, q, p, batch = make_state(system)
    times = torch.linspace(0, 1, 11, dtype=torch.double)
    together = integrate(system, x, q, p, times, batch)
    for index in range(3):
        own = batch == index
        alone = integrate(system, x[own], q[own], p[own], times)
        torch.testing.assert_close(together.pos[own], alone.pos)


class Runaway(System):
    """dq/dt = p, dp/dt = 4 q^3: to infinity in finite time, for q > 0 at rest."""

    param_names = ("mass",)

    def potential(self, x, pos, batch, batch_size):
        return -scatter(pos.pow(4).sum(1), batch, 0, batch_size, "sum")

    def draw(self, num_particles, generator):
        zero = torch.zeros(num_particles, self.space_dim, dtype=torch.double)
        return zero[:, :1] + 1, zero + 1, zero


@pytest.mark.parametrize("method", METHODS)
def test_diverging_systems_are_reported(method):
    """With the time; others go on as if they were alone."""
    system = Runaway(1, 1)
    x = torch.ones(3, 1, dtype=torch.double)
    q = torch.tensor([[0.1], [1.0], [2.0]], dtype=torch.double)
    p, batch = torch.zeros_like(q), torch.arange(3)
    times = torch.linspace(0, 2, 21, dtype=torch.double)
    found = integrate(system, x, q, p, times, batch, method=method, substeps=20)
    expected = 0.92704 / q[1:, 0]  # K(1/2) / 2, from rest to infinity
    assert found.diverged_at[0].isnan()
    torch.testing.assert_close(found.diverged_at[1:], expected, rtol=0.1, atol=0.02)
    late = times >= found.diverged_at.nan_to_num(9.0).unsqueeze(1)
    assert found.pos.isnan().all(2).equal(late)
    assert "2 of 3 systems diverged, the first at t = 0.4" in found.describe()
    alone = integrate(system, x[:1], q[:1], p[:1], times, method="dopri8")
    torch.testing.assert_close(found.pos[:1], alone.pos, rtol=1e-3, atol=1e-6)


def test_gradients_through_a_trajectory():
    """Of the last state in the first, by finite differences."""
    system = Springs(num_particles=3)
    x, q, p, batch = make_state(system, num_systems=2)
    times = torch.tensor([0.0, 0.1, 0.2], dtype=torch.double)

    def last(q, p):
        run = integrate(system, x, q, p, times, batch)
        return run.pos[:, -1], run.momentum[:, -1]

    q.requires_grad_(), p.requires_grad_()
    assert torch.autograd.gradcheck(last, (q, p))


def test_bad_input():
    system = Springs()
    x, q, p, batch = make_state(system)
    times = torch.linspace(0, 1, 3, dtype=torch.double)

    def bad(match, error=ValueError, **change):
        args = dict(x=x, pos=q, momentum=p, times=times, batch=batch, dynamics=system)
        with pytest.raises(error, match=match):
            integrate(**(args | change))

    bad("'times' must increase: number 1 is 0, after 0", times=torch.zeros(3))
    bad("two at least", times=torch.zeros(1))
    bad("'times' has NaN", times=times.log().sqrt())
    bad("floating-point tensor of shape", TypeError, times=[0, 1])
    bad("masses, the first column of 'x', must be positive .got 0", x=0 * x)
    bad("positive .got -", x=-x)
    bad("'pos' has NaN or infinite numbers in 18 of 18", pos=q / 0)
    bad("'momentum' must be of shape .particles, 2.", momentum=p[:, :1])
    bad("built for 2 parameters of each particle", x=x[:, :1])
    bad("one row for each particle", pos=q[:4])
    bad("'x' must be a floating-point tensor", TypeError, x=x.long())
    bad("'batch' must be the system of each", batch=batch.flip(0))
    bad("'method' must be one of rk4, dopri5", method="euler")
    bad("'substeps'", substeps=0)
    bad("'yoshida4' needs a kinetic energy", dynamics=OGN().double(), method="yoshida4")
    bad(
        "built for systems of 4 particles .got .6..",
        dynamics=HFC(num_particles=4).double(),
    )


def test_particles_that_meet():
    """Without a softening they cannot begin at one place, or be followed there."""
    x, q, p, batch = make_state(Gravity(2, 3, softening=0.0), num_systems=2)
    q[4] = q[3]
    times = torch.linspace(0, 1, 3, dtype=torch.double)
    match = "particles 3 and 4 of system 1 are at the same place"
    with pytest.raises(ValueError, match=match):
        integrate(Gravity(2), x, q, p, times, batch)
    assert integrate(Gravity(2, softening=0.1), x, q, p, times, batch).describe() == ""

    x = torch.ones(2, 1, dtype=torch.double)
    q = torch.tensor([[-0.5, 0.0], [0.5, 0.0]], dtype=torch.double)
    times = torch.tensor([0.0, 1.0], dtype=torch.double)
    with pytest.raises(RuntimeError, match="do particles meet"):
        integrate(Gravity(2), x, q, 0 * q, times, method="dopri5")


class Relativistic(Oscillators):
    """With another kinetic energy."""

    def hamiltonian(self, x, pos, momentum, batch, batch_size):
        kinetic = (x[:, 0] ** 2 + momentum.square().sum(1)).sqrt()
        kinetic = scatter(kinetic, batch, 0, batch_size, "sum")
        return kinetic + self.potential(x, pos, batch, batch_size)


def test_another_kinetic_energy():
    """Its derivative follows, and no method is taken that it is not for."""
    system = Relativistic()
    assert not system.is_separable and Oscillators().is_separable
    data = Batch.from_data_list(system.sample(2))
    times = torch.linspace(0, 2, 21, dtype=torch.double)
    state = data.x, data.pos, data.momentum
    path = integrate(system, *state, times, data.batch, method="dopri8")
    energy = [
        system.hamiltonian(data.x, path.pos[:, k], path.momentum[:, k], data.batch, 2)
        for k in (0, 20)
    ]
    torch.testing.assert_close(energy[0], energy[1], rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="'leapfrog' needs a kinetic energy"):
        integrate(system, *state, times, data.batch, method="leapfrog")


def test_where_it_begins_is_known():
    """Even of dynamics that are nowhere."""
    system = Springs(num_particles=2)
    data = Batch.from_data_list(system.sample(2))
    x = data.x.clone()
    x[:2, 1] = 1e200  # of the first, whose force overflows
    path = integrate(system, x, data.pos, data.momentum, torch.arange(3.0), data.batch)
    assert path.pos[:, 0].equal(data.pos) and path.pos[:2, 1:].isnan().all()
    assert path.diverged_at[0] == 0 and path.pos[2:].isfinite().all()
