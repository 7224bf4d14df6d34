"""The symmetries of flows in docs/fields.md, each by the group or the network that
gives it: those of "Incorporating Symmetry into Deep Dynamics Models for Improved
Generalization" (Wang, Walters, Yu, ICLR 2021)."""

import pytest
import torch

from lieconv_pyg import LieResNet, equivariance_error
from lieconv_pyg.groups import SE2, SIM2, Galilei, MatrixLieGroup, RxSO2, T
from lieconv_pyg.nn import FieldLieResNet

TOLERANCE = 1e-10
SMALL = dict(hidden_channels=16, num_layers=2, norm=None)


def steep(model):
    """In double precision, and so that the outputs vary."""
    model = model.double().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "kernel.lins" in name and "weight" in name:
                value.mul_(8)
    return model


def flow(number=12, frames=3, seed=0):
    """Velocities at some times, at points of the plane."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(number, 2, generator=generator).double()
    return torch.randn(number, frames, 2, generator=generator).double(), pos


def fields(group, **kwargs):
    torch.manual_seed(0)
    lift = "frames" if group.stabilizer_dim else "haar"
    settings = dict(motion=False, magnitude=False, lift=lift) | SMALL | kwargs
    return steep(FieldLieResNet(3, 1, group, **settings))


def difference(a, b):
    """Relative to what varies from point to point."""
    return float(((a - b).abs().max() / b.std(0).max()).detach())


def test_shifts_of_space():
    w, pos = flow()
    model, shift = fields(T(2)), torch.tensor([3.0, -7.0]).double()
    out = model(w, pos)
    assert difference(model(w, pos + shift), out) < TOLERANCE
    turned = model(w, pos.flip(1))
    assert difference(turned, out) > 1e-3


def test_shifts_of_space_and_time():
    """Points of space-time: a shift of both, by T(3)."""
    torch.manual_seed(0)
    event = torch.randn(15, 3).double()  # (x, y, t)
    w = torch.randn(15, 2).double()
    model = steep(LieResNet(2, 2, T(3), pool=None, **SMALL))
    out = model(w, event)
    shift = torch.tensor([3.0, -7.0, 11.0]).double()
    assert difference(model(w, event + shift), out) < TOLERANCE
    assert difference(model(w, event * shift.sign()), out) > 1e-3


def test_rotations():
    """SE(2): R w(R⁻¹ x), velocities turned into and out of lifted frames."""
    w, pos = flow()
    model = fields(SE2())
    g = SE2().sample(generator=torch.Generator().manual_seed(1), dtype=torch.double)
    out = model(w, pos)
    moved = model(SE2().act_on_vectors(g, w), SE2().act(g, pos))
    assert difference(moved, SE2().act_on_vectors(g, out)) < TOLERANCE
    assert difference(model(w, SE2().act(g, pos)), out) > 1e-3


@pytest.mark.parametrize("group", [T(2), SE2()], ids=str)
def test_uniform_motion_of_values(group):
    """w + c, by the mean of a window, which is taken out and put back."""
    w, pos = flow()
    c = torch.tensor([20.0, -5.0]).double()
    model = fields(group, motion=True)
    out = model(w, pos)
    assert difference(model(w + c, pos), out + c) < TOLERANCE
    plain = fields(group)
    assert difference(plain(w + c, pos), plain(w, pos) + c) > 1e-3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_uniform_motion_of_places_and_values(n):
    """x + a + c t, t + s, w + c: another observer, by the Galilei group."""
    group = Galilei(n)
    torch.manual_seed(0)
    event = torch.randn(14, 2 * n + 1).double()  # place, time, velocity
    model = steep(LieResNet(1, n, group, pool=None, **SMALL))
    ones = torch.ones(14, 1).double()
    a, s, c = torch.randn(n), torch.randn(1), 3 * torch.randn(n)
    place, time, velocity = event.split([n, 1, n], dim=1)
    moved = torch.cat([place + a + c * time, time + s, velocity + c], dim=1)
    acceleration = model(ones, event)
    assert difference(model(ones, moved), acceleration) < TOLERANCE
    predicted = velocity + 0.1 * acceleration  # a velocity: it gains c
    again = moved[:, n + 1 :] + 0.1 * model(ones, moved)
    assert difference(again, predicted + c) < TOLERANCE
    wrong = torch.cat([place, time, velocity + c], dim=1)
    assert difference(model(ones, wrong), acceleration) > 1e-3


@pytest.mark.parametrize("group", [T(2), SE2()], ids=str)
def test_magnitude(group):
    """λ w, by the size of a window, divided by and multiplied with."""
    w, pos = flow()
    model = fields(group, magnitude=True)
    out = model(w, pos)
    for factor in (1e-3, 0.3, 50.0):
        assert difference(model(factor * w, pos), factor * out) < TOLERANCE
    plain = fields(group)
    assert difference(plain(0.3 * w, pos), 0.3 * plain(w, pos)) > 1e-3


@pytest.mark.parametrize("factor", [0.4, 1.7, 3.0])
def test_scaling_about_an_origin(factor):
    """λ w(λ x) at one time, with rotations about the origin: R^×·SO(2). A velocity
    times the square of the distance from there is a vector that scales with places."""
    group = RxSO2()
    w, pos = flow()
    model = fields(group)

    def predict(w, pos):
        square = pos.square().sum(1)[:, None, None]
        return model(w * square, pos) / square

    out = predict(w, pos)
    angle = group.exp(torch.tensor([0.0, 0.8]).double())
    x, v = group.act(angle, pos) / factor, factor * group.act_on_vectors(angle, w)
    expected = factor * group.act_on_vectors(angle, out)
    assert difference(predict(v, x), expected) < TOLERANCE
    assert difference(model(v, x), expected) > 1e-3
    assert difference(predict(v, x + 1), expected) > 1e-3


@pytest.mark.parametrize("factor", [0.4, 1.7, 3.0])
def test_scaling_about_any_point(factor):
    """The same with translations: SIM(2), lifted by frames, and the size of the cloud
    in place of the distance from an origin."""
    group = SIM2()
    w, pos = flow()
    model = fields(group)

    def predict(w, pos):
        square = (pos - pos.mean(0)).square().sum(1).mean()
        return model(w * square, pos) / square

    out = predict(w, pos)
    turn = group.exp(torch.tensor([0.0, 0.8, 2.0, -1.0]).double())
    x, v = group.act(turn, pos) / factor + 5, factor * group.act_on_vectors(turn, w)
    expected = factor * group.act_on_vectors(turn, out)
    assert difference(predict(v, x), expected) < TOLERANCE
    assert difference(model(v, x), expected) > 1e-3


def parabolic():
    """diag(1, 1, 2) on (x, y, t): places scale by r, times by r²."""
    generator = torch.diag(torch.tensor([1.0, 1.0, 2.0]).double()).unsqueeze(0)
    return MatrixLieGroup(
        generator, section=lift_parabolic, origin=lambda q: q, orbit_dim=3
    )


def log_gauge(event):
    """The logarithm of (|x|⁴ + t²)^(1/4), which grows by log r."""
    square = event[..., :2].square().sum(-1, keepdim=True)
    return (square.square() + event[..., 2:].square()).log() / 4


def lift_parabolic(event):
    size = log_gauge(event)
    powers = torch.tensor([1.0, 1.0, 2.0], dtype=event.dtype)
    r = (size * powers).exp()
    return torch.diag_embed(r), event / r


@pytest.mark.parametrize("factor", [0.4, 1.7, 3.0])
def test_scaling_of_space_and_time(factor):
    """λ w(λ x, λ² t), as the Navier-Stokes equations have it: values are seen in the
    frame of a lifted point, as r w, and come out over r."""
    group = parabolic()
    torch.manual_seed(0)
    event, w = torch.randn(14, 3).double(), torch.randn(14, 2).double()
    model = steep(LieResNet(2, 2, group, pool=None, **SMALL))

    def predict(w, event):
        r = log_gauge(event).exp()
        return model(r * w, event) / r

    powers = torch.tensor([1.0, 1.0, 2.0]).double()
    out = predict(w, event)
    moved = predict(factor * w, event / factor**powers)
    assert difference(moved, factor * out) < TOLERANCE
    assert difference(predict(factor * w, event / factor), factor * out) > 1e-3
    assert equivariance_error(model, group, w, event) < TOLERANCE


def test_all_that_go_together():
    """Shifts, rotations, uniform motion and magnitude in one network."""
    w, pos = flow()
    group = SE2()
    model = fields(group, motion=True, magnitude=True)
    g = group.sample(generator=torch.Generator().manual_seed(2), dtype=torch.double)
    c = torch.tensor([-2.0, 8.0]).double()
    out = model(w, pos)
    moved = model(0.3 * group.act_on_vectors(g, w) + c, group.act(g, pos))
    expected = 0.3 * group.act_on_vectors(g, out) + c
    assert difference(moved, expected) < TOLERANCE
