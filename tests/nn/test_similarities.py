"""Networks on SIM2: exact with frames, and with lifts as far as these go."""

import math

import pytest
import torch

from lieconv_pyg import LieResNet, equivariance_error
from lieconv_pyg.groups import SE2, SIM2

from .conftest import make_points
from .test_vectors import prepare

GROUP = SIM2()


def scaling(factor):
    return torch.diag(torch.tensor([factor, factor, 1.0], dtype=torch.double))


def turn(angle):
    vector = torch.tensor([0.0, angle, 0.0, 0.0], dtype=torch.double)
    return GROUP.exp(vector)


def make(group=GROUP, **kwargs):
    torch.manual_seed(0)
    settings = dict(hidden_channels=16, num_layers=2, norm=None) | kwargs
    return LieResNet(3, 4, group, **settings).double().eval()


@torch.no_grad()
def change(model, g, seed=0):
    """Of outputs, in units of their spread over random clouds."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 3, generator=generator).double()
    clouds = torch.randn(6, 8, 2, generator=generator).double()
    outs = torch.cat([model(x, pos) for pos in clouds])
    moved = torch.cat([model(x, GROUP.act(g, pos)) for pos in clouds])
    return float((moved - outs).abs().mean() / outs.std(0).mean())


@pytest.mark.parametrize("fill", [1.0, 0.5])
def test_frames_are_exact(fill):
    """Their scale is that of the cloud, and so is the radius."""
    x, pos, batch = make_points(GROUP, (6, 7))
    model = prepare(make(lift="frames", fill=fill, out_vectors=True, ratio=0.8))
    model.calibrate(pos, batch)
    assert equivariance_error(model, GROUP, x, pos, batch, vectors=True) < 1e-10
    rigid = prepare(make(SE2(), lift="frames", fill=fill))
    rigid.calibrate(pos, batch)
    assert equivariance_error(rigid, GROUP, x, pos, batch) > 1e-3
    assert equivariance_error(rigid, SE2(), x, pos, batch) < 1e-10


def test_lifts_that_move_with_the_points_are_exact():
    x, pos, batch = make_points(GROUP, (6, 7))
    model = prepare(make(num_lifts=3))
    settings = dict(num_lifts=3, transport=True)
    assert equivariance_error(model, GROUP, x, pos, batch, **settings) < 1e-10


def test_more_lifts_help_rotations_and_not_scalings():
    """The window of scales moves with no example, however many lifts it has."""
    near, envelope = [], dict(radius=1.0, envelope=True)
    for number in (2, 8, 24):
        model = make(num_lifts=number, **envelope)
        near.append((change(model, turn(1.0)), change(model, scaling(1.25))))
    turned, scaled = zip(*near, strict=True)
    assert turned[0] > 3 * turned[1] > 9 * turned[2]
    assert min(scaled) > 0.1 and max(scaled) < 3 * min(scaled)
    # It goes to zero with the scaling itself, as every smooth function does.
    small, smaller = (change(model, scaling(factor)) for factor in (1.02, 1.01))
    assert small < 0.2 * scaled[2] and 1.6 < small / smaller < 2.4


def test_without_a_window_they_are_lifts_to_rigid_motions():
    x, pos, batch = make_points(GROUP, (6, 7))
    model, rigid = make(SIM2(window=0.0), num_lifts=4), make(SE2(), num_lifts=4)
    with torch.no_grad():
        for mine, other in zip(model.blocks, rigid.blocks, strict=True):
            weight = mine.conv.kernel.lins[0].weight
            other.load_state_dict(
                {
                    name: weight[:, 1:] if value.shape == weight.shape else value
                    for name, value in mine.state_dict().items()
                }
            )
        for name in ("lin_in", "lin_out"):
            getattr(rigid, name).load_state_dict(getattr(model, name).state_dict())
    torch.testing.assert_close(model(x, pos, batch), rigid(x, pos, batch))
    assert math.isclose(GROUP.window, math.log(2))
