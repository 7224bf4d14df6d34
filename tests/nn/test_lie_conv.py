import copy
import io
import pickle

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.nn.models.dimenet import BesselBasisLayer
from torch_geometric.nn.models.schnet import GaussianSmearing

from lieconv_pyg import LieConv
from lieconv_pyg.groups import SE2, SE3, SO2, T, Trivial
from lieconv_pyg.neighbors import radius_graph
from lieconv_pyg.nn.tiles import make_tiling

from .conftest import make_lifted, make_points, randomize, transport

INF = float("inf")


def make(group, aggr="mean", norm="batch_norm", dtype=torch.double, **kwargs):
    x, pos, batch = make_points(group, dtype=dtype)
    lifted = make_lifted(group, pos, batch)
    graph = radius_graph(group, lifted, INF)
    conv = LieConv(3, 4, group, aggr=aggr, norm=norm, **kwargs).to(dtype)
    return randomize(conv).eval(), x[lifted.point], lifted, graph


@pytest.mark.parametrize("aggr", ["mean", "add"])
def test_formula(group, aggr):
    """Equation by equation, one target at a time."""
    conv, x, lifted, graph = make(group, aggr)
    out = conv(x, lifted, graph.edge_index)
    assert out.shape == (len(x), 4)
    for i in range(len(x)):
        near = (lifted.batch == lifted.batch[i]).nonzero().view(-1)
        total = 0
        for j in near.tolist():
            u, v = lifted.element[i], lifted.element[j]
            log = group.log(group.compose(group.inverse(v), u))
            a = torch.cat([log, lifted.orbit[i], lifted.orbit[j]])
            s = conv.kernel(a.unsqueeze(0)).squeeze(0)
            total = total + torch.outer(s, x[j]).flatten()
        if aggr == "mean":
            total = total / len(near)
        expected = conv.lin.weight @ total + conv.lin.bias
        torch.testing.assert_close(out[i], expected, rtol=1e-10, atol=1e-10)


def test_equivariance(group):
    conv, x, lifted, graph = make(group)
    moved = transport(group, lifted)
    if group.dim > 0:
        assert (moved.element - lifted.element).abs().max() > 1e-2
    out = conv(x, lifted, graph.edge_index)
    again = conv(x, moved, graph.edge_index)
    assert (out - again).abs().max() < 1e-10


def test_radial_basis(group):
    basis = GaussianSmearing(0.0, 2.0, 5)
    conv, x, lifted, graph = make(group, radial_basis=basis)
    assert conv.kernel.in_channels == conv.pair_dim + 5
    out = conv(x, lifted, graph.edge_index, graph.edge_attr)
    moved = transport(group, lifted)
    assert (out - conv(x, moved, graph.edge_index)).abs().max() < 1e-10

    plain = LieConv(3, 4, group).double().eval()
    inputs = torch.cat([graph.edge_attr, basis(graph.distance)], dim=1)
    plain.kernel, plain.lin = torch.nn.Identity(), conv.lin
    with torch.no_grad():
        kernel = conv.kernel(inputs)
    plain.kernel.forward = lambda _: kernel
    plain.kernel.lins = conv.kernel.lins
    assert torch.equal(out, plain(x, lifted, graph.edge_index, graph.edge_attr))


def test_a_layer_on_positions_is_not_equivariant():
    """The test above can fail: it does for pairs of the wrong order."""
    group = SE2()
    conv, x, lifted, graph = make(group)
    moved = transport(group, lifted)

    def wrong(lifted):
        j, i = graph.edge_index
        u, v = lifted.element[i], lifted.element[j]
        return conv(
            x,
            lifted,
            graph.edge_index,
            group.log(group.compose(u, group.inverse(v))),
        )

    assert (wrong(lifted) - wrong(moved)).abs().max() > 1e-3


def test_cached_pair_coordinates(group):
    conv, x, lifted, graph = make(group)
    out = conv(x, lifted, graph.edge_index)
    again = conv(x, lifted, graph.edge_index, graph.edge_attr)
    torch.testing.assert_close(out, again)


def test_bipartite():
    group = SE3()
    conv, x, lifted, graph = make(group)
    keep = torch.arange(0, len(x), 3)
    kept = lifted.select(keep)
    some = radius_graph(group, lifted, INF, kept)
    expected = conv(x, lifted, graph.edge_index)[keep]
    for pair in ((x, None), (x, x[keep])):
        out = conv(pair, (lifted, kept), some.edge_index, some.edge_attr)
        torch.testing.assert_close(out, expected)


def test_permutation_of_edges():
    conv, x, lifted, graph = make(SE2())
    shuffled = torch.randperm(graph.edge_index.size(1))
    out = conv(x, lifted, graph.edge_index)
    again = conv(x, lifted, graph.edge_index[:, shuffled], graph.edge_attr[shuffled])
    torch.testing.assert_close(out, again)


def test_edge_weight():
    """A neighbour of weight zero is none, weights of one change nothing."""
    conv, x, lifted, graph = make(T(2))
    j, i = graph.edge_index
    out = conv(x, lifted, graph.edge_index)
    ones = torch.ones(len(j), dtype=torch.double)
    again = conv(x, lifted, graph.edge_index, edge_weight=ones)
    torch.testing.assert_close(out, again)

    some = (i == j) | ((i + j) % 2 == 0)
    weighted = conv(x, lifted, graph.edge_index, edge_weight=some.double())
    without = conv(x, lifted, graph.edge_index[:, some])
    torch.testing.assert_close(weighted, without)


def test_no_edges_and_isolated_points():
    group = SE2()
    conv, x, lifted, _ = make(group)
    none = torch.empty(2, 0, dtype=torch.long)
    torch.testing.assert_close(
        conv(x, lifted, none), conv.lin.bias.expand(len(x), 4).clone()
    )
    conv.train()(x, lifted, none).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in conv.parameters())
    one = lifted.select(torch.tensor([0]))
    loop = torch.zeros(2, 1, dtype=torch.long)
    assert conv(x[:1], one, loop).isfinite().all()


def test_no_points():
    group = T(3)
    conv, x, lifted, _ = make(group)
    empty = lifted.select(torch.empty(0, dtype=torch.long))
    out = conv(x[:0], empty, torch.empty(2, 0, dtype=torch.long))
    assert out.shape == (0, 4)


def test_coincident_points_have_finite_gradients(group):
    x, pos, batch = make_points(group, (4,))
    pos[1:3] = pos[0]
    pos.requires_grad_()
    lifted = make_lifted(group, pos, batch)
    graph = radius_graph(group, lifted, INF)
    conv = LieConv(3, 4, group, norm=None).double()
    out = conv(x[lifted.point], lifted, graph.edge_index, graph.edge_attr)
    (grad,) = torch.autograd.grad(out.sin().sum(), pos, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), pos)
    assert grad.isfinite().all() and second.isfinite().all()


def test_gradient_in_positions(group):
    x, pos, batch = make_points(group, (3, 2))
    lifted = make_lifted(group, pos, batch)
    index = radius_graph(group, lifted, INF).edge_index
    conv = LieConv(3, 2, group, num_kernel_channels=3, norm=None).double()

    def energy(pos):
        lifted = make_lifted(group, pos, batch)
        return conv(x[lifted.point], lifted, index).sum()

    assert torch.autograd.gradcheck(energy, pos.requires_grad_())
    assert torch.autograd.gradgradcheck(energy, pos)


def test_scale_bias():
    conv, x, lifted, graph = make(T(2))
    scaled = copy.deepcopy(conv)
    scaled.scale_bias = True
    count = torch.bincount(graph.edge_index[1]).view(-1, 1)
    expected = conv(x, lifted, graph.edge_index) - conv.lin.bias * (1 - 1 / count)
    torch.testing.assert_close(scaled(x, lifted, graph.edge_index), expected)


def test_compile_and_export(group):
    basis = GaussianSmearing(0.0, 2.0, 5)
    conv, x, lifted, graph = make(group, dtype=torch.float, radial_basis=basis)
    expected = conv(x, lifted, graph.edge_index)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="aot_eager")
    out = compiled(x, lifted, graph.edge_index)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    compiled(x, lifted, graph.edge_index).sum().backward()
    assert conv.lin.weight.grad.isfinite().all()

    program = torch.export.export(
        conv, (x, lifted, graph.edge_index, graph.edge_attr), strict=False
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    program = torch.export.load(file)
    out = program.module()(x, lifted, graph.edge_index, graph.edge_attr)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_compiled_once_for_all_sizes():
    group = SE3()
    conv, *_ = make(group, dtype=torch.float)
    compiled = torch.compile(conv, fullgraph=True, dynamic=True)
    torch._dynamo.reset()
    counts = []
    for sizes in ((5, 6), (9, 3), (4, 8, 7)):
        x, pos, batch = make_points(group, sizes, dtype=torch.float)
        lifted = make_lifted(group, pos, batch)
        graph = radius_graph(group, lifted, INF)
        args = (x[lifted.point], lifted, graph.edge_index, graph.edge_attr)
        torch.testing.assert_close(compiled(*args), conv(*args), rtol=1e-4, atol=1e-5)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[0] == counts[-1]


def test_sequential():
    group = SE3()
    conv, x, lifted, graph = make(group)
    model = pyg.Sequential(
        "x, lifted, edge_index",
        [
            (conv, "x, lifted, edge_index -> x"),
            torch.nn.SiLU(),
            (LieConv(4, 2, group).double(), "x, lifted, edge_index -> x"),
        ],
    ).eval()
    assert model(x, lifted, graph.edge_index).shape == (len(x), 2)


def test_copies_give_the_same():
    conv, x, lifted, graph = make(SE3())
    expected = conv(x, lifted, graph.edge_index)
    buffer = io.BytesIO()
    torch.save(conv.state_dict(), buffer)
    buffer.seek(0)
    other = LieConv(3, 4, SE3()).double().eval()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for copied in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv)), other):
        assert copied(x, lifted, graph.edge_index).equal(expected)


def test_autocast():
    conv, x, lifted, graph = make(SE3(), dtype=torch.float)
    expected = conv(x, lifted, graph.edge_index)
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x, lifted, graph.edge_index)
        out.sum().backward()
        double = conv.double()(x.double(), lifted, graph.edge_index)
    assert double.dtype == torch.double
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


def test_means_of_halves_do_not_overflow():
    conv, x, lifted, graph = make(T(3), dtype=torch.float, norm=None)
    conv.kernel.lins[-1].bias.data += 30
    many = graph.edge_index.repeat(1, 100)
    with torch.autocast("cpu", torch.half):
        out = conv(50 * x, lifted, many)
    torch.testing.assert_close(
        out.float(), conv(50 * x, lifted, many), rtol=0.02, atol=5
    )


def test_lazy_and_resolvers():
    group = SO2()
    x, pos, batch = make_points(group, dtype=torch.float)
    lifted = make_lifted(group, pos, batch)
    graph = radius_graph(group, lifted, INF)
    conv = LieConv(
        -1, 4, group, 5, kernel_channels=(7,), act="tanh", norm="layer_norm", bias=False
    )
    assert conv(x, lifted, graph.edge_index).shape == (len(x), 4)
    assert conv.lin.weight.shape == (4, 15)
    assert conv.lin.bias is None
    assert conv.kernel.channel_list == [3, 7, 5]


def test_reset_parameters():
    conv, *_ = make(T(2))
    before = copy.deepcopy(conv.state_dict())
    conv.reset_parameters()
    assert not conv.lin.weight.equal(before["lin.weight"])
    assert not conv.kernel.lins[0].weight.equal(before["kernel.lins.0.weight"])


def test_repr():
    assert str(LieConv(8, 16, SE3())) == "LieConv(8, 16, group=SE3(alpha=0.2))"
    assert str(LieConv(-1, 16, Trivial(2))).startswith("LieConv(-1, 16, group=Trivial")


@pytest.mark.parametrize(
    "change,error,match",
    [
        (dict(x=torch.zeros(13, 5)), ValueError, "in_channels=3"),
        (dict(x=torch.zeros(4, 3)), ValueError, r"x\[lifted.point\]"),
        (dict(x=torch.zeros(13)), ValueError, "shape"),
        (dict(lifted=torch.zeros(3, 3)), TypeError, "Lifted"),
        (dict(edge_index=torch.zeros(4).long()), ValueError, "edge_index"),
        (dict(edge_index=torch.zeros(2, 4)), ValueError, "edge_index"),
        (dict(edge_weight=torch.ones(3)), ValueError, "edge_weight"),
        (dict(edge_attr=torch.zeros(2, 2)), ValueError, "edge_attr"),
    ],
)
def test_bad_input(change, error, match):
    conv, x, lifted, graph = make(T(2), dtype=torch.float)
    args = dict(x=x, lifted=lifted, edge_index=graph.edge_index, edge_attr=None)
    with pytest.raises(error, match=match):
        conv(**(args | change))


@pytest.mark.parametrize(
    "kwargs,error,match",
    [
        (dict(aggr="max"), ValueError, "aggr"),
        (dict(flow="target_to_source"), ValueError, "flip the rows of 'edge_index'"),
        (dict(banks=2), TypeError, "LieConv, and what .* argument 'banks'"),
        (dict(group="SE3"), TypeError, "LieGroup"),
        (dict(num_kernel_channels=0), ValueError, "num_kernel_channels"),
        (dict(in_channels=0), ValueError, "in_channels"),
        (dict(norm="instance_norm"), ValueError, "norm"),
        (dict(radial_basis=torch.nn.Flatten(0)), ValueError, "radial_basis"),
        (dict(radial_basis=torch.nn.Linear(1, 3)), ValueError, "radial_basis"),
        (dict(radial_basis=BesselBasisLayer(3)), ValueError, "'GaussianSmearing'"),
        (dict(radial_basis=16), TypeError, "radial_basis"),
    ],
)
def test_bad_arguments(kwargs, error, match):
    with pytest.raises(error, match=match):
        LieConv(**(dict(in_channels=2, out_channels=2, group=T(2)) | kwargs))


def test_state_dicts_with_the_kernel_channels_inside():
    """As they were before version 2 of the layer."""
    conv, x, lifted, graph = make(T(3))
    old = conv.state_dict()
    weight = old["lin.weight"].unflatten(1, (16, -1))
    old["lin.weight"] = weight.mT.flatten(1).contiguous()
    old._metadata[""]["version"] = 1
    other = make(T(3))[0]
    torch.nn.init.zeros_(other.lin.weight)
    other.load_state_dict(old)
    expected = conv(x, lifted, graph.edge_index)
    torch.testing.assert_close(other(x, lifted, graph.edge_index), expected)
    other.load_state_dict(dict(conv.state_dict()))  # of no version
    torch.testing.assert_close(other(x, lifted, graph.edge_index), expected)
    lazy = LieConv(-1, 4, T(3)).state_dict()
    lazy._metadata[""]["version"] = 1
    LieConv(-1, 4, T(3)).load_state_dict(lazy)
    old["lin.weight"] = old["lin.weight"][:, 1:]
    with pytest.raises(RuntimeError, match=r"size mismatch for lin\.weight"):
        other.load_state_dict(old)


def test_tiling_of_another_graph():
    conv, x, lifted, graph = make(T(3))
    tiling = make_tiling(graph.edge_index[:, 1:], len(x))
    with pytest.raises(ValueError, match="'tiling' is of another graph"):
        conv(x, lifted, graph.edge_index, tiling=tiling)


def test_hooks_and_explainers_see_the_messages():
    conv, x, lifted, graph = make(T(3))
    expected = conv(x, lifted, graph.edge_index)
    seen = []
    handle = conv.register_message_forward_hook(lambda *args: seen.append(args[-1]))
    torch.testing.assert_close(conv(x, lifted, graph.edge_index), expected)
    assert seen[0].shape == (graph.edge_index.size(1), x.size(1))
    handle.remove()
    assert conv(x, lifted, graph.edge_index) is not None and len(seen) == 1
    conv.explain = True
    conv.explain_message = lambda inputs, **_: seen.append(1) or inputs
    conv(x, lifted, graph.edge_index)
    assert len(seen) == 2
