"""Networks for dynamics: symmetries, conservation, smoothness, batches."""

import copy
import pickle

import pytest
import torch
from torch.autograd.functional import hessian

from lieconv_pyg.dynamics import (
    FC,
    HFC,
    HOGN,
    OGN,
    VOGN,
    FLieResNet,
    HLieResNet,
    Springs,
    conservation_report,
    integrate,
)
from lieconv_pyg.dynamics.integrate import solve
from lieconv_pyg.groups import SE2, SE3, SO2, SO3, T, Trivial

from .conftest import make_state, rotation, steep

SMALL = dict(hidden_channels=16, num_layers=2)


def lie(group, **kwargs):
    return HLieResNet(group, **{**SMALL, **kwargs})


# The network, and whether it conserves (linear, angular) momentum, centred and not.
CASES = {
    "Trivial": (lambda c: lie(Trivial(2), center=c), (1, 0), (0, 0)),
    "T2": (lambda c: lie(T(2), center=c), (1, 0), (1, 0)),
    "SO2": (lambda c: lie(SO2(), center=c), (1, 1), (0, 1)),
    "SE2": (lambda c: lie(SE2(), center=c), (1, 1), (1, 1)),
    "SE2 x 3": (lambda c: lie(SE2(), center=c, num_lifts=3), (1, 1), (1, 1)),
    "SE2 fixed": (lambda c: lie(SE2(), center=c, lift="fixed"), (1, 0), (1, 0)),
    "SE2 ball": (lambda c: lie(SE2(), center=c, radius=1.0), (1, 1), (1, 1)),
    "Trivial3": (lambda c: lie(Trivial(3), center=c), (1, 0), (0, 0)),
    "T3": (lambda c: lie(T(3), center=c), (1, 0), (1, 0)),
    "SO3": (lambda c: lie(SO3(), center=c), (1, 1), (0, 1)),
    "SE3": (lambda c: lie(SE3(), center=c), (1, 1), (1, 1)),
    "FC": (lambda c: FC(5, hidden_channels=32, center=c), (0, 0), (0, 0)),
    "HFC": (lambda c: HFC(5, hidden_channels=32, center=c), (1, 0), (0, 0)),
    "OGN": (lambda c: OGN(hidden_channels=32, center=c), (0, 0), (0, 0)),
    "HOGN": (lambda c: HOGN(hidden_channels=32, center=c), (1, 0), (0, 0)),
    "VOGN": (lambda c: VOGN(hidden_channels=32, center=c), (1, 0), (0, 0)),
    "FLieResNet": (lambda c: FLieResNet(T(2), center=c, **SMALL), (0, 0), (0, 0)),
}
HAMILTONIAN = [n for n in CASES if n not in ("FC", "OGN", "FLieResNet")]


def make(name, center=True, system=None):
    network = steep(CASES[name][0](center))
    sizes = 5 if network.num_particles else (3, 6, 5)
    return network, make_state(system or Springs(network.space_dim, sizes))


@pytest.mark.parametrize("name", ["k", "num_neighbors", "eval_num_neighbors"])
@pytest.mark.parametrize("kind", [HLieResNet, FLieResNet])
def test_no_neighbours_are_drawn(kind, name):
    with pytest.raises(ValueError, match=f"'{name}' is not for dynamics"):
        kind(T(2), **{name: 1}, **SMALL)
    with pytest.raises(ValueError, match="'ratio' is not for dynamics"):
        kind(T(2), ratio=0.5, **SMALL)


def test_two_particles_in_space():
    """They are always on a line: forces are along it, and what their potential says."""
    network = steep(lie(SE3()))
    x, q, p, batch = make_state(Springs(3, 2))
    force = network.force(x, q, batch, 3)
    torch.testing.assert_close(
        torch.linalg.cross(force[::2], q[::2] - q[1::2]).norm(),
        torch.zeros((), dtype=torch.double),
        atol=1e-14,
        rtol=0,
    )
    assert torch.autograd.gradcheck(
        lambda q: network.potential(x, q, batch, 3), q.requires_grad_(), atol=1e-7
    )
    times = torch.linspace(0, 0.2, 5, dtype=torch.double)
    report = conservation_report(network, x, q.detach(), p, times, batch)
    assert all(kept.kept for kept in report.quantities.values())


@pytest.mark.parametrize(
    "change,error,match",
    [
        (lambda s: (s[0], s[1].float(), *s[2:]), TypeError, "'pos' is torch.float32"),
        (lambda s: (s[0], s[1][:, :1], *s[2:]), ValueError, "built for 2 coordinates"),
        (lambda s: tuple(v[:0] for v in s), ValueError, "one row for each particle"),
        (lambda s: (*s[:3], s[3].flip(0)), ValueError, "one after the other"),
        (lambda s: (*s[:3], s[3].clamp(max=1)), ValueError, "5 particles"),
    ],
)
def test_calls_with_bad_states(change, error, match):
    network, state = make("FC")
    with pytest.raises(error, match=match):
        network(*change(state))


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_what_is_conserved(name, center):
    """Exactly the momenta whose symmetry the network has, to rounding, and energy."""
    network, (x, q, p, batch) = make(name, center)
    times = torch.linspace(0, 0.2, 11, dtype=torch.double)
    report = conservation_report(network, x, q, p, times, batch, num_samples=4)
    assert report.diverged == ""
    linear, angular = CASES[name][1 if center else 2]
    for quantity, (drift, rate, kept) in report.quantities.items():
        expected = {"P": linear, "L": angular}.get(quantity[0], 1)
        assert kept == bool(expected), quantity
        assert (rate < 1e-12) if expected else (rate > 1e-4), quantity
        assert (drift < 1e-9) if expected and quantity != "energy" else drift < 100
    assert ("energy" in report.quantities) == (name in HAMILTONIAN)
    assert str(report).count("kept") == sum(k.kept for k in report.quantities.values())


def test_integrator_error_falls_with_the_step():
    """What is left of the drift in energy is the integrator's, of order 4."""
    network, (x, q, p, batch) = make("SO2")
    times = torch.linspace(0, 1, 11, dtype=torch.double)
    drift = [
        conservation_report(
            network, x, q, p, times, batch, substeps=n, num_samples=1
        ).quantities["energy"][0]
        for n in (2, 4)
    ]
    assert 8 < drift[0] / drift[1] < 70


@pytest.mark.parametrize("name", ["SO2", "SE2", "SE2 x 3", "SE2 ball", "SO3", "SE3"])
def test_dynamics_turn_with_the_state(name):
    network, (x, q, p, batch) = make(name)
    turn = rotation(network.space_dim)
    dq, dp = network(x, q, p, batch)
    found = network(x, q @ turn.T, p @ turn.T, batch)
    torch.testing.assert_close(found, (dq @ turn.T, dp @ turn.T), rtol=0, atol=1e-10)
    mirror = torch.ones(network.space_dim, dtype=torch.double)
    mirror[0] = -1
    mirrored = network(x, q * mirror, p * mirror, batch)[1]
    if network.space_dim == 2:
        assert (mirrored - dp * mirror).abs().max() > 1e-3


@pytest.mark.parametrize("group", [SE2(), SO2(), SE3()], ids=str)
def test_direct_dynamics_turn_with_the_state(group):
    """FLieResNet: of SE(n) as far as the fixed lifts go, by a turn from one to
    another."""
    lifts = 4 if group == SE2() else 1
    network = steep(FLieResNet(group, num_lifts=lifts, **SMALL))
    x, q, p, batch = make_state(Springs(group.space_dim))
    turn = rotation(group.space_dim)
    if group == SE2():
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.double)
    if group == SE3():
        turn = torch.eye(3, dtype=torch.double)
    dq, dp = network(x, q, p, batch)
    found = network(x, q @ turn.T, p @ turn.T, batch)
    torch.testing.assert_close(found, (dq @ turn.T, dp @ turn.T), rtol=0, atol=1e-10)


def test_more_fixed_lifts_are_more_symmetric():
    """The error in the angular momentum falls exponentially."""
    x, q, p, batch = make_state()
    rates = []
    for num_lifts in (4, 8, 16):
        network = steep(lie(SE2(), lift="fixed", num_lifts=num_lifts))
        network = network.double()
        times = torch.tensor([0.0, 0.01], dtype=torch.double)
        report = conservation_report(network, x, q, p, times, batch, num_samples=1)
        rates.append(report.quantities["L"].rate)
    assert rates[1] < rates[0] / 4 and rates[2] < rates[1] / 10


@pytest.mark.parametrize("name", CASES)
def test_batched_is_single(name):
    network, (x, q, p, batch) = make(name)
    together = network(x, q, p, batch)
    for index in range(3):
        own = batch == index
        alone = network(x[own], q[own], p[own])
        torch.testing.assert_close(
            alone, (together[0][own], together[1][own]), rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("FC", "HFC")])
def test_order_of_particles(name):
    network, (x, q, p, batch) = make(name)
    order = torch.cat([(batch == i).nonzero().view(-1).flip(0) for i in range(3)])
    found = network(x[order], q[order], p[order], batch)
    dq, dp = network(x, q, p, batch)
    torch.testing.assert_close(found, (dq[order], dp[order]), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", HAMILTONIAN)
def test_forces_are_gradients(name):
    """By finite differences of the Hamiltonian."""
    network, (x, q, p, batch) = make(name)
    dq, dp = network(x, q, p, batch)
    step = 1e-5
    for particle, axis in ((0, 0), (4, 1), (10, 0)):
        for value, slope, sign in ((q, dp, -1), (p, dq, 1)):
            energies = []
            for change in (step, -step):
                moved = value.clone()
                moved[particle, axis] += change
                state = (moved, p) if value is q else (q, moved)
                energies.append(network.hamiltonian(x, *state, batch, 3).sum())
            found = sign * (energies[0] - energies[1]) / (2 * step)
            expected = slope[particle, axis]
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["T2", "SO2", "SE2", "SE2 ball", "SO3", "SE3"])
def test_potentials_are_smooth(name):
    """The second derivative goes over steadily where particles meet, stand opposite to
    each other about the centre, pass it, leave a neighbourhood, or line up."""
    network = steep(CASES[name][0](False))
    dim = network.space_dim
    x, q, _, _ = make_state(Springs(dim, 4), num_systems=1)
    one = torch.zeros(4, dtype=torch.long)
    places = [q.clone() for _ in range(5)]
    places[0][1] = q[0]  # two meet
    places[1][1] = -2 * q[0]  # opposite
    places[2][0] = 0  # at the centre
    places[3][1] = q[0] + q[0] / q[0].norm()  # apart by the radius 1
    places[4][:] = q[:1] * torch.tensor([[1.0], [-0.3], [2.0], [0.7]])  # on a line
    for place in places[: 4 if name == "SE3" else 5]:
        direction = torch.randn(4, dim, dtype=torch.double)

        def second(t, place=place, direction=direction):
            def energy(s):
                return network.potential(x, place + s * direction, one, 1).sum()

            return hessian(energy, torch.tensor(t, dtype=torch.double))

        middle, scale = second(0.0), second(0.3).abs() + second(-0.3).abs() + 1e-6
        assert middle.isfinite()
        for t in (1e-5, -1e-5):
            assert (second(t) - middle).abs() < 2e-3 * scale.clamp(min=1), place


@pytest.mark.parametrize("name", CASES)
def test_trains(name):
    """Gradients of a rollout reach all parameters but those of energies' constants."""
    network, (x, q, p, batch) = make(name)
    times = torch.linspace(0, 0.1, 3, dtype=torch.double)
    integrate(network, x, q, p, times, batch).pos.square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        if parameter.grad is None:
            assert parameter_name.endswith("bias")  # V + constant
        else:
            assert parameter.grad.isfinite().all()
    missing = [n for n, p in network.named_parameters() if p.grad is None]
    assert len(missing) <= 1


def test_gradient_of_a_rollout():
    network, (x, q, p, batch) = make("SE2")
    weight = network.net.lin_in.weight
    times = torch.linspace(0, 0.2, 3, dtype=torch.double)

    def last(_):
        return integrate(network, x, q, p, times, batch).pos[:, -1].square().sum()

    assert torch.autograd.gradcheck(last, (weight,))


def test_copies():
    network, (x, q, p, batch) = make("SE2")
    expected = network(x, q, p, batch)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(x, q, p, batch)[1], expected[1])
    other = steep(lie(SE2()))
    other.net.lin_in.reset_parameters()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x, q, p, batch)[1], expected[1])
    assert str(network) == "HLieResNet(SE2(alpha=0.2))"
    other.reset_parameters()
    assert not torch.equal(other(x, q, p, batch)[1], expected[1])


@pytest.mark.parametrize(
    "make,match",
    [
        (lambda: HLieResNet("SE2"), "LieGroup"),
        (lambda: HLieResNet(T(2), lift="particles"), "no frames of particles"),
        (lambda: HLieResNet(SE2(), lift="haar"), "'lift' must be"),
        (lambda: HLieResNet(T(2), num_lifts=2), "'num_lifts' must be 1"),
        (lambda: HLieResNet(T(2), pool="attention"), "'pool' must be"),
        (lambda: HLieResNet(T(2), num_neighbors=3), "'num_neighbors' is not for"),
        (lambda: FLieResNet(T(2), ratio=0.5), "'ratio' is not for"),
        (lambda: HLieResNet(T(2), num_params=0), "num_params"),
        (lambda: FC(0), "num_particles"),
        (lambda: OGN(num_layers=0), "num_layers"),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises((ValueError, TypeError), match=match):
        make()


def test_wrong_number_of_particles():
    x, q, p, batch = make_state(Springs(num_particles=4))
    with pytest.raises(ValueError, match="built for systems of 6 particles"):
        FC().double()(x, q, p, batch)


@pytest.mark.parametrize("name", ["SE2", "OGN"])
def test_recomputed_derivatives(name):
    """The same gradients, of what is not kept."""
    network, (x, q, p, batch) = make(name)
    times = torch.linspace(0, 0.2, 4, dtype=torch.double)
    q.requires_grad_()

    def derivative(t, z):
        return torch.cat(network(x, *z.chunk(2, 1), batch), dim=1)

    found = []
    for recompute in (None, network.parameters()):
        out = solve(derivative, torch.cat([q, p], 1), times, recompute=recompute)
        wanted = [q, *(w for w in network.parameters() if w.requires_grad)]
        grads = torch.autograd.grad(out.square().sum(), wanted, allow_unused=True)
        found.append((out, [g for g in grads if g is not None]))
    torch.testing.assert_close(*found)
