import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from lieconv_pyg.dynamics import (
    HamiltonianDynamics,
    SeparableDynamics,
    Trajectories,
    WindyPendulum,
    integrate,
)

from .conftest import make_state


@pytest.mark.parametrize("wind", [0.0, 0.01, 0.3])
def test_derivatives_are_those_of_the_hamiltonian(wind):
    system = WindyPendulum(wind)
    x, q, p, batch = make_state(system, 20)
    found = system(x, q, p, batch)
    expected = HamiltonianDynamics.derivative(system, x, q, p, batch, 20)
    torch.testing.assert_close(found, expected)
    force = SeparableDynamics.force(system, x, q, batch, 20)
    torch.testing.assert_close(found[1], force)


def energy(q, p, wind):
    """As published, of one system."""
    w = wind * np.array([8.0, 5.0, 0.0])
    apart = q[1] - q[0]
    springs = 0.5 * (np.sqrt(q[0] @ q[0]) - 1) ** 2 + (np.sqrt(apart @ apart) - 1) ** 2
    return 0.5 * np.sum(p**2) + springs + q[0, 2] + q[1, 2] + w @ (q[0] + q[1])


def test_energy_and_order_of_particles():
    system = WindyPendulum(0.05)
    x, q, p, batch = make_state(system, 8)
    found = system.hamiltonian(x, q, p, batch, 8)
    expected = [
        energy(q[2 * i : 2 * i + 2].numpy(), p[2 * i : 2 * i + 2].numpy(), 0.05)
        for i in range(8)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    order = torch.arange(16).view(8, 2).flip(1).flatten()
    swapped = system.hamiltonian(x[order], q[order], p[order], batch, 8)
    torch.testing.assert_close(swapped, found)


def test_motion_keeps_energy_and_is_scipys():
    system = WindyPendulum()
    (data,) = system.sample(1, seed=4)
    t = 0.2 * torch.arange(26, dtype=torch.double)
    state = data.x, data.pos, data.momentum
    path = integrate(system, *state, t, method="dopri8", rtol=1e-10, atol=1e-10)
    zero = torch.zeros(2, dtype=torch.long)
    energies = [
        float(system.hamiltonian(data.x, path.pos[:, k], path.momentum[:, k], zero, 1))
        for k in range(26)
    ]
    assert np.ptp(energies) < 1e-8
    assert (path.pos[:, -1] - path.pos[:, 0]).norm() > 0.1

    def slope(_, state):
        q, p = state.reshape(2, 2, 3)
        gradient = np.zeros((2, 3))
        for k in range(6):
            step = np.zeros((2, 3))
            step.flat[k] = 1e-5
            change = energy(q + step, p, 0.01) - energy(q - step, p, 0.01)
            gradient.flat[k] = change / 2e-5
        return np.concatenate([p.ravel(), -gradient.ravel()])

    start = torch.stack([data.pos, data.momentum]).flatten().numpy()
    there = solve_ivp(slope, (0, 5), start, rtol=1e-8, atol=1e-8).y[:, -1]
    last = torch.stack([path.pos[:, -1], path.momentum[:, -1]]).flatten()
    np.testing.assert_allclose(last.numpy(), there, atol=1e-5)


@pytest.mark.parametrize("wind,kept", [(0.0, True), (0.01, False)])
def test_the_wind_breaks_rotations_about_the_vertical(wind, kept):
    system = WindyPendulum(wind)
    assert not system.translations and not system.rotations
    x, q, _, batch = make_state(system, 5)
    before = system.potential(x, q, batch, 5)
    turn = torch.tensor([[3.0, -4, 0], [4, 3, 0], [0, 0, 5]], dtype=torch.double) / 5
    change = (system.potential(x, q @ turn.T, batch, 5) - before).abs().max()
    assert (change < 1e-12) == kept
    tilt = turn.roll((1, 1), (0, 1))
    for moved in (q @ tilt.T, q + torch.tensor([0.0, 1.0, 0.0])):
        assert (system.potential(x, moved, batch, 5) - before).abs().min() > 0.01


def test_begins_as_published():
    x, q, p, _ = make_state(WindyPendulum(), 500)
    q, p = q.view(500, 2, 3), p.view(500, 2, 3)
    assert x.view(500, 2, 2)[0].tolist() == [[1, 1], [1, 0]]
    middle = torch.tensor([[0, 0, -1.5], [0, 0, -3]]).double()
    torch.testing.assert_close(q.mean(0), middle, rtol=0, atol=0.04)
    assert (q - middle).std() == pytest.approx(0.2, rel=0.05)
    assert p.std() == pytest.approx(0.4, rel=0.05)


def test_a_spring_of_no_length():
    system = WindyPendulum()
    x = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    found = system(x, torch.zeros(2, 3), torch.zeros(2, 3))
    assert all(value.isfinite().all() for value in found)


def test_trajectories(tmp_path):
    system = WindyPendulum(0.02)
    assert str(system) == "WindyPendulum(wind=0.02)"
    data = Trajectories(tmp_path, system, num_systems=3, num_states=10, progress=False)
    assert data[0].pos.shape == (2, 5, 3)
    with pytest.raises(ValueError, match=r"wind=0.02 there, 0.0 here"):
        Trajectories(
            tmp_path, WindyPendulum(0.0), num_systems=3, num_states=10, progress=False
        )


def test_bad_arguments():
    with pytest.raises(ValueError, match="'wind' must be a finite number"):
        WindyPendulum(float("nan"))
    with pytest.raises(ValueError, match="was built for systems of 2 particles"):
        WindyPendulum().check(torch.ones(3, 2), *torch.randn(2, 3, 3))
