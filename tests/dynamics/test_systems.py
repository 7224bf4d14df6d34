import pytest
import torch

from lieconv_pyg.dynamics import (
    Charges,
    Gravity,
    HamiltonianDynamics,
    SeparableDynamics,
    Springs,
    angular_momentum,
    linear_momentum,
)
from lieconv_pyg.neighbors.layout import example_pairs

from .conftest import make_state, rotation

SYSTEMS = [
    Springs(),
    Springs(3, (2, 7)),
    Gravity(2),
    Gravity(3, (1, 2, 6), softening=0.1),
    Charges(),
    Charges(2, 4, softening=0.0),
]


@pytest.fixture(params=SYSTEMS, ids=str)
def system(request):
    return request.param


def test_derivatives_are_those_of_the_hamiltonian(system):
    """Closed forms of the force against autograd."""
    x, q, p, batch = make_state(system)
    found = system(x, q, p, batch)
    expected = HamiltonianDynamics.derivative(system, x, q, p, batch, 3)
    torch.testing.assert_close(found, expected)
    force = SeparableDynamics.force(system, x, q, batch, 3)
    torch.testing.assert_close(found[1], force)


def test_symmetries(system):
    x, q, p, batch = make_state(system)
    energy = system.hamiltonian(x, q, p, batch, 3)
    turn = rotation(system.space_dim)
    assert system.translations and system.rotations
    torch.testing.assert_close(system.hamiltonian(x, q + 3, p, batch, 3), energy)
    moved = system.hamiltonian(x, q @ turn.T, p @ turn.T, batch, 3)
    torch.testing.assert_close(moved, energy)


def test_samples_are_the_same_however_many(system):
    few, many = system.sample(2, seed=5), system.sample(5, seed=5)
    for a, b in zip(few, many, strict=False):
        assert a.x.equal(b.x) and a.pos.equal(b.pos) and a.momentum.equal(b.momentum)
    others = system.sample(2, seed=6), system.sample(2, seed=5, stream=1)
    for other in others:
        assert other[0].x.shape != few[0].x.shape or not other[0].pos.equal(few[0].pos)
    for data in many:
        assert data.x.size(0) in system.sizes and data.x.dtype == torch.double
        assert data.pos.shape == data.momentum.shape == (len(data.x), system.space_dim)
        total = linear_momentum(data.momentum).abs().max()
        assert total < 1e-12 * data.momentum.abs().sum().clamp(min=1)


def test_springs_as_published():
    """The sum over all ordered pairs, and the distributions."""
    system = Springs()
    x, q, p, batch = make_state(system, num_systems=400)
    i, j = example_pairs(batch)
    pairs = x[i, 1] * x[j, 1] * (q[i] - q[j]).square().sum(1) / 2
    energy = torch.zeros(400, dtype=torch.double).index_add(0, batch[i], pairs)
    torch.testing.assert_close(system.potential(x, q, batch, 400), energy)
    far = system.potential(x, q + 1e6, batch, 400)
    torch.testing.assert_close(far, energy, rtol=1e-6, atol=1e-6)
    assert 0.1 <= x[:, 0].min() < 0.12 and 3.08 < x[:, 0].max() <= 3.1
    assert 0 <= x[:, 1].min() < 0.02 and 4.98 < x[:, 1].max() <= 5
    assert q.std() == pytest.approx(0.4, rel=0.03)
    assert p.std() == pytest.approx(0.6 * (5 / 6) ** 0.5, rel=0.03)


def test_momenta_centered_over_systems():
    """As in the authors' code: those of each particle, not of each system."""
    data = Springs(center_momenta="systems").sample(50)
    momenta = torch.stack([d.momentum for d in data])
    assert momenta.mean(0).abs().max() < 1e-12
    assert momenta.sum(1).abs().max() > 1
    free = Springs(center_momenta=None).sample(50)
    assert torch.stack([d.momentum for d in free]).mean(0).abs().max() > 0.01


def test_gravity_begins_with_circles():
    system = Gravity(3, 2)
    for data in system.sample(5):
        star, planet = data.x[:, 0].argsort(descending=True).tolist()
        _, force = system(data.x, data.pos, data.momentum)
        apart = data.pos[planet] - data.pos[star]
        velocity = data.momentum / data.x
        speed = (velocity[planet] - velocity[star]).norm()
        assert speed**2 == pytest.approx(float(32 / apart.norm()), rel=1e-9)
        assert (apart * (velocity[planet] - velocity[star])).sum().abs() < 1e-9
        assert force.sum(0).abs().max() < 1e-9


def test_angular_momentum():
    _, q, p, batch = make_state(Charges())
    expected = torch.linalg.cross(q, p)
    found = angular_momentum(q, p, batch)
    assert found.shape == (3, 3)
    torch.testing.assert_close(found[1], expected[batch == 1].sum(0))
    over_time = angular_momentum(q.unsqueeze(1), p.unsqueeze(1), batch)
    torch.testing.assert_close(over_time[:, 0], found)
    flat = angular_momentum(q[:, :2], p[:, :2], batch)
    torch.testing.assert_close(flat[:, 0], found[:, 2])
    assert angular_momentum(torch.ones(2, 4), torch.ones(2, 4)).shape == (1, 6)
    assert linear_momentum(p).shape == (1, 3)


@pytest.mark.parametrize(
    "make,match",
    [
        (lambda: Springs(0), "space_dim"),
        (lambda: Springs(2, 0), "num_particles"),
        (lambda: Springs(2, ()), "'num_particles' is empty"),
        (lambda: Springs(center_momenta="time"), "'center_momenta' must be"),
        (lambda: Springs(2, (4, 8), "systems"), "same number of particles"),
        (lambda: Gravity(4), "'space_dim' must be 2 or 3"),
        (lambda: Charges(softening=-1), "'softening' must be at least 0"),
        (lambda: Springs().sample(0), "num_systems"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()
