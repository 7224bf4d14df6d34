"""Networks of relaxed layers: they learn what breaks a symmetry, if they may."""

from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lieconv_pyg import LieConv, LieResNet, equivariance_error
from lieconv_pyg.groups import SE2
from lieconv_pyg.nn import RelaxedLieConv, relaxation_penalty

from .conftest import four_poses, make_points
from .test_relaxed import loosen


def network(group, **kwargs):
    torch.manual_seed(0)
    made = dict(hidden_channels=16, num_layers=2, conv=RelaxedLieConv) | kwargs
    return LieResNet(3, 2, group, **made).double()


@pytest.mark.parametrize("ratio", [1.0, 0.7])
def test_networks(group, ratio):
    """One argument away, and at first the network that they relax."""
    x, pos, batch = make_points(group)
    relaxed = network(group, ratio=ratio).eval()
    plain = network(group, ratio=ratio, conv=LieConv).eval()
    state = relaxed.state_dict()
    plain.load_state_dict(
        {
            name.replace(".conv.conv.", ".conv."): value
            for name, value in state.items()
            if ".delta." not in name
        }
    )
    lifted = plain.lift(pos, batch)
    assert torch.equal(relaxed(x, lifted=lifted), plain(x, lifted=lifted))
    assert relaxation_penalty(relaxed, lifted) == 0
    loosen(relaxed)
    parts = [block.conv.penalty(lifted) for block in relaxed.blocks]
    torch.testing.assert_close(relaxation_penalty(relaxed, lifted), sum(parts))
    assert (relaxed(x, lifted=lifted) - plain(x, lifted=lifted)).abs().max() > 1e-7


def test_networks_commute_only_at_first():
    group = SE2()
    x, pos, batch = make_points(group)
    model = network(group, lift="frames", norm=None)
    assert equivariance_error(model.eval(), group, x, pos, batch) < 1e-10
    assert equivariance_error(loosen(model), group, x, pos, batch) > 1e-4


def fit(model, x, pos, batch, y, beta, steps=60):
    """The share of the variance that is left after some training."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    lifted = model.lift(pos, batch)
    graph = model.resolutions(lifted)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x, lifted=lifted, graph=graph) - y).square().mean()
        if beta > 0:
            loss = loss + beta * relaxation_penalty(model, lifted)
        loss.backward()
        optimizer.step()
    return float(loss.detach() / y.var())


def test_learns_what_breaks_the_symmetry_if_the_penalty_lets_it():
    """The same clouds in four poses, and the first coordinate of their first point."""
    group = SE2()
    x, pos, batch, y = four_poses(group)
    kwargs = dict(norm=None, lift="frames", hidden_channels=16, num_layers=1)
    two = partial(RelaxedLieConv, num_banks=2)
    left = []
    for conv, beta in ((LieConv, 0.0), (two, 0.0), (two, 1e3)):
        torch.manual_seed(1)
        model = LieResNet(3, 1, group, conv=conv, **kwargs).double()
        left.append(fit(model, x, pos, batch, y, beta))
    exact, relaxed, held = left
    assert exact > 0.9 and held > 0.9  # no invariant function tells poses apart
    assert relaxed < 0.3


def test_distributed(tmp_path):
    """Parameters may be used outside the wrapped network too."""
    model = loosen(network(SE2(), norm=None, lift="frames"))
    x, pos, batch = make_points(SE2(), (4, 4))
    lifted = model.lift(pos, batch)
    grads = []
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        for whole in (model, DistributedDataParallel(model)):
            model.zero_grad()
            loss = whole(x, lifted=lifted).square().mean()
            (loss + relaxation_penalty(model, lifted)).backward()
            grads.append([p.grad.clone() for p in model.parameters()])
    finally:
        dist.destroy_process_group()
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
