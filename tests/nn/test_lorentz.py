"""Networks on the Lorentz group."""

import pytest
import torch
from torch.autograd import gradcheck

from lieconv_pyg import LieConv, LieResNet, equivariance_error
from lieconv_pyg.groups import Lorentz
from lieconv_pyg.lifting import lift, lift_frames
from lieconv_pyg.neighbors import available_backends, radius_graph
from lieconv_pyg.neighbors import radius as radius_module

from .conftest import make_points, randomize, transport
from .test_vectors import prepare

GROUP = Lorentz()  # neighbors that do not depend on the lifts


def make(**kwargs):
    torch.manual_seed(0)
    kwargs = dict(hidden_channels=16, num_layers=2, fill=0.5) | kwargs
    return prepare(LieResNet(3, 2, GROUP, **kwargs))


@pytest.mark.parametrize("scale", [0.5, 1.0])
@pytest.mark.parametrize("settings", [dict(num_lifts=4), dict(lift="frames")], ids=str)
def test_invariance(settings, scale):
    """With lifts that move along, and with lifts from frames."""
    x, pos, batch = make_points(GROUP, (6, 1, 9))
    model = make(**settings)
    model.calibrate(pos, batch)
    along = dict(transport=True, num_lifts=4) if "num_lifts" in settings else {}
    error = equivariance_error(model, GROUP, x, pos, batch, scale=scale, **along)
    assert error < 1e-10


def test_lifts_of_the_points_alone_are_not_invariant():
    x, pos, batch = make_points(GROUP, (6, 9))
    model = make(num_lifts=4, fill=1.0)
    assert equivariance_error(model, GROUP, x, pos, batch) > 1e-3


@pytest.mark.parametrize("settings", [dict(num_lifts=3), dict(lift="frames")], ids=str)
def test_batched_is_single(settings):
    x, pos, batch = make_points(GROUP, (6, 1, 9))
    model = make(**settings)
    model.calibrate(pos, batch)
    out = model(x, pos, batch)
    for example in range(3):
        mine = batch == example
        single = model(x[mine], pos[mine])
        torch.testing.assert_close(out[example : example + 1], single)


@pytest.mark.parametrize("backend", available_backends())
def test_neighbors_do_not_depend_on_the_lifts(backend, monkeypatch):
    monkeypatch.setattr(radius_module, "FEW_SOURCES", 0)
    _, pos, batch = make_points(GROUP, (30, 25))
    edges = []
    g = GROUP.sample(1, generator=torch.Generator(), dtype=pos.dtype)
    for seed in range(4):
        source = torch.Generator().manual_seed(seed)
        place = pos if seed % 2 == 0 else GROUP.act(g, pos)
        lifted = lift(GROUP, place, batch, 3, generator=source)
        graph = radius_graph(GROUP, lifted, 0.25, backend=backend)
        edges.append(graph.edge_index.tolist())
        distance = GROUP.distance(
            GROUP.pairs(
                lifted.element[:, None],
                lifted.orbit[:, None],
                lifted.element,
                lifted.orbit,
            )
        )
        same = lifted.batch[:, None] == lifted.batch
        expected = ((distance < 0.25) & same).nonzero().T.flip(0)
        assert edges[-1] == expected.tolist()
    assert all(found == edges[0] for found in edges)
    assert 0.1 < len(edges[0][0]) / 3**2 / (30**2 + 25**2) < 0.9


def test_layer_with_several_lifts():
    x, pos, batch = make_points(GROUP, (6, 9))
    conv = randomize(LieConv(3, 4, GROUP).double()).eval()
    source = torch.Generator().manual_seed(1)
    lifted = lift(GROUP, pos, batch, 4, generator=source)
    graph = radius_graph(GROUP, lifted, 0.4)
    moved = transport(GROUP, lifted)
    again = radius_graph(GROUP, moved, 0.4)
    assert torch.equal(graph.edge_index, again.edge_index)
    out = conv(x[lifted.point], lifted, graph.edge_index, graph.edge_attr)
    after = conv(x[lifted.point], moved, again.edge_index, again.edge_attr)
    assert (out - after).abs().max() < 1e-10
    # -u is the same element as u.
    sign = torch.randn(len(lifted.batch), generator=source).sign().double()
    turned = lifted._replace(element=lifted.element * sign.view(-1, 1, 1))
    assert torch.equal(conv(x[lifted.point], turned, graph.edge_index), out)


def test_vectors_from_frames():
    x, pos, batch = make_points(GROUP, (6, 9))
    model = make(lift="frames", out_vectors=True)
    model.calibrate(pos, batch)
    assert model(x, pos, batch).shape == (2, 2, 4)
    error = equivariance_error(model, GROUP, x, pos, batch, vectors=True, scale=0.5)
    assert error < 1e-10


def test_frames_move_with_their_example():
    _, pos, batch = make_points(GROUP, (6, 2, 1))
    lifted = lift_frames(GROUP, pos, batch)
    reached = GROUP.act(lifted.element, GROUP.origin(lifted.orbit))
    torch.testing.assert_close(reached, pos[lifted.point], rtol=0, atol=1e-13)
    assert lifted.component.bincount().tolist()[:4] == [6] * 4
    single = lift_frames(GROUP, pos.float(), batch)
    assert single.element.dtype == single.orbit.dtype == torch.float


@pytest.mark.parametrize("settings", [dict(num_lifts=2), dict(lift="frames")], ids=str)
def test_gradients_in_the_momenta(settings):
    x, pos, _ = make_points(GROUP, (5,))
    model = make(fill=1.0, **settings)
    pos.requires_grad_()
    assert gradcheck(lambda pos: model(x, pos), (pos,), fast_mode=True, atol=1e-6)
