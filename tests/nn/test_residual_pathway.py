"""Residual pathways: nearly equivariant at first, and held there by the prior."""

import copy

import pytest
import torch

from lieconv_pyg import LieConv, LieResNet, equivariance_error
from lieconv_pyg.groups import SE2, SE3, SO2, LieGroup, T, Trivial
from lieconv_pyg.neighbors import radius_graph
from lieconv_pyg.nn import RPPLieConv, pathway_prior

from .conftest import four_poses, make_lifted, make_points, randomize, transport

INF = float("inf")


def make(group, dtype=torch.double, free=1e3, **kwargs):
    torch.manual_seed(0)
    x, pos, batch = make_points(group, dtype=dtype)
    lifted = make_lifted(group, pos, batch)
    graph = radius_graph(group, lifted, INF)
    conv = randomize(RPPLieConv(3, 4, group, **kwargs)).to(dtype)
    conv.free.lin.weight.data.mul_(free)
    return conv.eval(), x[lifted.point], lifted, graph, pos


def test_formula(group):
    conv, x, lifted, graph, pos = make(group)
    out = conv(x, lifted, graph.edge_index, graph.edge_attr)
    equivariant = conv.conv(x, lifted, graph.edge_index)
    j, i = graph.edge_index
    pairs = torch.cat([pos[lifted.point[i]], pos[lifted.point[j]]], dim=1)
    messages = torch.einsum("es,ec->esc", conv.free.kernel(pairs), x[j]).flatten(1)
    total = torch.zeros(len(x), 48, dtype=x.dtype).index_add(0, i, messages)
    free = total / torch.bincount(i).unsqueeze(1) @ conv.free.lin.weight.T
    torch.testing.assert_close(out, equivariant + free)
    assert free.abs().max() > 1e-2


def test_starts_nearly_equivariant(group):
    conv, x, lifted, graph, _ = make(group, free=1.0)
    equivariant = conv.conv(x, lifted, graph.edge_index)
    ratio = conv.free.lin.weight.std() / conv.conv.lin.weight.std()
    assert 5e-4 < ratio < 2e-3
    difference = (conv(x, lifted, graph.edge_index) - equivariant).abs().max()
    assert 0 < difference < 1e-2 * equivariant.abs().max()
    torch.nn.init.zeros_(conv.free.lin.weight)
    moved = transport(group, lifted)
    out, again = (conv(x, one, graph.edge_index) for one in (lifted, moved))
    assert torch.equal(out, equivariant)
    assert (out - again).abs().max() < 1e-10


def test_the_free_part_breaks_symmetries():
    conv, x, lifted, graph, _ = make(SE2())
    moved = transport(SE2(), lifted)
    out, again = (conv(x, one, graph.edge_index) for one in (lifted, moved))
    assert (out - again).abs().max() > 1e-3


def test_it_sees_points_and_not_their_lifts():
    group = SE3()
    conv, x, lifted, graph, _ = make(group)
    turned = lifted._replace(
        element=group.compose(lifted.element, group.stabilizer_sample(1).double())
    )
    torch.nn.init.zeros_(conv.conv.lin.weight)
    out, again = (conv(x, one, graph.edge_index) for one in (lifted, turned))
    torch.testing.assert_close(out, again)


def test_prior():
    conv = make(T(2))[0]
    kept, free = (part.lin.weight.norm() ** 2 for part in (conv.conv, conv.free))
    torch.testing.assert_close(conv.prior(), 1e-3 * kept + 1e2 * free)
    torch.testing.assert_close(conv.prior(2, 3), 2 * kept + 3 * free)
    conv.prior(2.0, 3.0).backward()
    torch.testing.assert_close(conv.free.lin.weight.grad, 6 * conv.free.lin.weight)
    torch.testing.assert_close(conv.conv.lin.weight.grad, 4 * conv.conv.lin.weight)
    assert conv.conv.lin.bias.grad is None
    model = LieResNet(3, 1, T(2), 16, 2, conv=RPPLieConv)
    parts = [block.conv.prior(0.1, 0.2) for block in model.blocks]
    torch.testing.assert_close(pathway_prior(model, 0.1, 0.2), sum(parts))


def test_bipartite_and_shared_points():
    group = SE3()
    conv, x, lifted, graph, _ = make(group)
    full = conv(x, lifted, graph.edge_index)
    keep = torch.arange(0, len(x), 3)
    kept = lifted.select(keep)
    some = radius_graph(group, lifted, INF, kept)
    for pair in ((x, None), (x, x[keep])):
        for attr in (None, some.edge_attr):
            out = conv(pair, (lifted, kept), some.edge_index, attr)
            torch.testing.assert_close(out, full[keep])
    several = conv(torch.stack([x, x.flip(0)]), lifted, graph.edge_index)
    torch.testing.assert_close(several[0], full)
    torch.testing.assert_close(several[1], conv(x.flip(0), lifted, graph.edge_index))
    weight = torch.rand(graph.edge_index.size(1), dtype=x.dtype)
    out = conv(x, lifted, graph.edge_index, edge_weight=weight)
    assert (out - full).abs().max() > 1e-3


def test_gradients_in_positions():
    group = SE2()
    x, pos, batch = make_points(group, (3, 2))
    index = radius_graph(group, make_lifted(group, pos, batch), INF).edge_index
    conv = RPPLieConv(3, 2, group, num_kernel_channels=3, norm=None).double()
    conv.free.lin.weight.data.mul_(1e3)

    def energy(pos):
        lifted = make_lifted(group, pos, batch)
        return conv(x[lifted.point], lifted, index).sum()

    assert torch.autograd.gradcheck(energy, pos.requires_grad_(), fast_mode=True)


def test_compile_copies_and_reset():
    conv, x, lifted, graph, _ = make(T(3), torch.float)
    args = (x, lifted, graph.edge_index, graph.edge_attr)
    expected = conv(*args)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="eager")
    torch.testing.assert_close(compiled(*args), expected, rtol=1e-4, atol=1e-5)
    other = RPPLieConv(3, 4, T(3)).eval()
    other.load_state_dict(conv.state_dict())
    assert copy.deepcopy(other)(*args).equal(expected)
    other.reset_parameters()
    assert other.free.lin.weight.std() < 2e-3 * other.conv.lin.weight.std()
    assert not other.conv.lin.weight.equal(conv.conv.lin.weight)
    assert str(conv) == "RPPLieConv(3, 4, group=T(3))"


def test_channels_from_the_first_input():
    _, x, lifted, graph, _ = make(T(2), torch.float)
    conv = RPPLieConv(-1, 4, T(2))
    assert conv(x, lifted, graph.edge_index).shape == (len(x), 4)
    assert conv.free.lin.weight.shape == (4, 48)
    assert conv.free.lin.weight.std() < 2e-3 * conv.conv.lin.weight.std()


class NoOrigin(T):
    """A group that does not say where its points come from."""

    origin = LieGroup.origin


def test_bad_arguments():
    with pytest.raises(ValueError, match="defines no origin of its orbits"):
        RPPLieConv(3, 4, NoOrigin(2))
    with pytest.raises(TypeError, match="'group' must be a LieGroup"):
        RPPLieConv(3, 4, "SE2")
    with pytest.raises(ValueError, match="'aggr' must be"):
        RPPLieConv(3, 4, T(2), aggr="max")
    conv, x, lifted, graph, _ = make(T(2))
    with pytest.raises(ValueError, match=r"x\[lifted.point\]"):
        conv(x[:4], lifted, graph.edge_index)
    with pytest.raises(TypeError, match="Lifted"):
        conv(x, x, graph.edge_index)
    with pytest.raises(ValueError, match="'free_weight' must not be negative"):
        conv.prior(free_weight=-1.0)
    with pytest.raises(ValueError, match="'model' has no 'RPPLieConv'"):
        pathway_prior(conv.conv)


@pytest.mark.parametrize("group", [T(2), SO2(), SE2(), Trivial(2)], ids=str)
def test_networks(group):
    x, pos, batch = make_points(group)
    kwargs = dict(lift="frames") if group.stabilizer_dim else {}
    model = LieResNet(3, 2, group, 16, 2, conv=RPPLieConv, ratio=0.7, **kwargs)
    assert model.double()(x, pos, batch).shape == (3, 2)


def test_the_prior_says_how_far_a_network_goes():
    """Clouds in four poses, and the first coordinate of their first point."""
    group = SE2()
    x, pos, batch, y = four_poses(group)
    left, errors = [], []
    for weight in (None, 0.0, 1e6):
        torch.manual_seed(1)
        conv = LieConv if weight is None else RPPLieConv
        model = LieResNet(3, 1, group, 16, 1, conv=conv, norm=None, lift="frames")
        model = model.double()
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        lifted = model.lift(pos, batch)
        graph = model.resolutions(lifted)
        for _ in range(80):
            optimizer.zero_grad()
            loss = (model(x, lifted=lifted, graph=graph) - y).square().mean()
            if weight is not None:
                loss = loss + pathway_prior(model, 0.0, weight)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            loss = (model(x, lifted=lifted, graph=graph) - y).square().mean()
        left.append(float(loss / y.var()))
        errors.append(equivariance_error(model.eval(), group, x, pos, batch))
    exact, free, held = left
    assert exact > 0.9 and held > 0.9 and free < 0.3
    assert errors[0] < 1e-10 and errors[1] > 0.1 and errors[2] < 0.05
