"""Examples that share their points, as images do."""

import pytest
import torch

from lieconv_pyg import LieConv, LieResNet
from lieconv_pyg.groups import SE2, SE3, SO2, T
from lieconv_pyg.neighbors import radius_graph
from lieconv_pyg.nn import static_convolution
from lieconv_pyg.nn.static_convolution import convolve

from .conftest import make_lifted, make_points, num_lifts_of, randomize

EXAMPLES = 3


@pytest.fixture
def points(group):
    """Features of three examples, and the points that they share."""
    _, pos, _ = make_points(group, (9,))
    x = torch.randn(EXAMPLES, 9, 4, generator=torch.Generator().manual_seed(5)).double()
    return x, pos


def graph_of(group, pos, radius=0.9):
    lifted = make_lifted(group, pos, None)
    return lifted, radius_graph(group, lifted, radius)


@pytest.mark.parametrize("settings", [{}, {"aggr": "add"}, {"norm": None}])
def test_layer_is_that_of_each_example(group, points, settings):
    x, pos = points
    conv = randomize(LieConv(4, 5, group, **settings).double())
    lifted, graph = graph_of(group, pos)
    weight = torch.rand(graph.edge_index.size(1), dtype=torch.double)
    x = x[:, lifted.point].requires_grad_()
    for edge_weight in (None, weight):
        arguments = lifted, graph.edge_index, graph.edge_attr, edge_weight
        out = conv(x, *arguments)
        single = torch.stack([conv(part, *arguments) for part in x])
        assert out.shape == (EXAMPLES, lifted.num_points, 5)
        torch.testing.assert_close(out, single)
        inputs = [x, *conv.parameters()]
        gradients = torch.autograd.grad(out.sin().sum(), inputs)
        wanted = torch.autograd.grad(single.sin().sum(), inputs)
        torch.testing.assert_close(gradients, wanted)


def test_bipartite(group, points):
    x, pos = points
    conv = LieConv(4, 5, group).double().eval()
    lifted = make_lifted(group, pos, None)
    kept = lifted.select(torch.tensor([0, 3, 4]))
    graph = radius_graph(group, lifted, 0.9, kept)
    x = x[:, lifted.point]
    out = conv((x, None), (lifted, kept), graph.edge_index)
    single = [conv((part, None), (lifted, kept), graph.edge_index) for part in x]
    torch.testing.assert_close(out, torch.stack(single))


def test_hooks_see_the_messages():
    x, pos, _ = make_points(T(2), (9,), channels=4)
    conv = LieConv(4, 5, T(2)).double().eval()
    lifted, graph = graph_of(T(2), pos)
    x = torch.stack([x, 2 * x])
    out = conv(x, lifted, graph.edge_index)
    seen = []
    conv.register_message_forward_hook(lambda *_: seen.append("message"))
    torch.testing.assert_close(conv(x, lifted, graph.edge_index), out)
    handle = conv.lin.register_forward_hook(lambda *_: seen.append("lin"))
    torch.testing.assert_close(conv(x, lifted, graph.edge_index), out)
    handle.remove()
    assert seen == ["message", "message", "lin"]


def test_lazy_channels():
    x, pos, _ = make_points(T(2), (9,), channels=4)
    lifted, graph = graph_of(T(2), pos)
    conv = LieConv(-1, 5, T(2)).double()
    assert conv(torch.stack([x, x]), lifted, graph.edge_index).shape == (2, 9, 5)


def random_convolution(size=6, sources=7, edges=20, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=torch.double)

    edge_index = torch.stack(
        [torch.randint(n, (edges,), generator=random) for n in (sources, size - 1)]
    )
    inputs = draw(sources, 2, 3), draw(edges, 4), draw(5, 12), draw(5)
    return [t.requires_grad_() for t in inputs], edge_index, size


def test_convolution_against_its_definition():
    """A graph in no order, with repeated edges, and a target without any."""
    (x, kernel, weight, bias), edge_index, size = random_convolution()
    out = convolve(x, kernel, weight, bias, edge_index, size).view(size, 2, 5)
    wanted = torch.zeros(size, 2, 5, dtype=torch.double)
    matrices = weight.view(5, 4, 3)
    for e, (j, i) in enumerate(edge_index.t().tolist()):
        wanted[i] += torch.einsum("omc,m,bc->bo", matrices, kernel[e], x[j])
    torch.testing.assert_close(out, wanted + bias)


def test_convolution_has_derivatives_of_all_orders():
    inputs, edge_index, size = random_convolution(edges=9)
    assert torch.autograd.gradcheck(lambda *t: convolve(*t, edge_index, size), inputs)
    assert torch.autograd.gradgradcheck(
        lambda *t: convolve(*t, edge_index, size), inputs
    )
    x, kernel, weight, _ = inputs
    frozen = [x, kernel.detach(), weight, None]
    convolve(*frozen, edge_index, size).sum().backward()
    assert x.grad is not None and kernel.grad is None


@pytest.mark.parametrize("kept", [0, 1 << 30])
def test_convolution_in_pieces(monkeypatch, kept):
    inputs, edge_index, size = random_convolution()
    out = convolve(*inputs, edge_index, size)
    wanted = torch.autograd.grad(out.sin().sum(), inputs)
    monkeypatch.setattr(static_convolution, "_PIECE", 1)
    monkeypatch.setattr(static_convolution, "_KEPT", kept)
    pieces = convolve(*inputs, edge_index, size)
    torch.testing.assert_close(pieces, out)
    torch.testing.assert_close(torch.autograd.grad(pieces.sin().sum(), inputs), wanted)
    monkeypatch.setattr(static_convolution, "is_plain_cpu", lambda _: False)
    torch.testing.assert_close(convolve(*inputs, edge_index, size), out)


@pytest.mark.parametrize("pool", ["mean", "sum", "attention", None])
@pytest.mark.parametrize("lift", ["haar", "frames"])
def test_network_is_that_of_a_batch(group, pool, lift):
    _, pos, _ = make_points(group, (9,))
    x = torch.randn(EXAMPLES, 9, 3).double()
    lifts = num_lifts_of(group) if lift == "haar" else 1
    ratio = 1.0 if pool is None else (0.7, 1.0, 0.5)
    model = LieResNet(
        *(3, 2, group, (16, 16, 20, 24), 3, lifts),
        **dict(lift=lift, fill=0.6, ratio=ratio, pool=pool),
    )
    model = randomize(model.double()).eval()
    model.calibrate(pos)
    batch = torch.arange(EXAMPLES).repeat_interleave(9)
    out = model(x, pos)
    wanted = model(x.flatten(0, 1), pos.repeat(EXAMPLES, 1), batch)
    torch.testing.assert_close(out, wanted.view_as(out))
    assert out.shape == ((EXAMPLES, 2) if pool else (EXAMPLES, 9, 2))


def test_network_in_training():
    """Statistics of batch norm too: each edge counts as often."""
    group = SE2()
    _, pos, _ = make_points(group, (12,))
    x = torch.randn(EXAMPLES, 12, 3).double()
    model = LieResNet(3, 2, group, 16, 2, 2, radius=1.0, ratio=0.6).double()
    generator = torch.Generator().manual_seed(0)
    lifted = model.lift(pos, None, generator)
    shared = model(x, lifted=lifted)
    resolutions = model.resolutions(lifted)
    single = LieResNet(3, 2, group, 16, 2, 2, radius=1.0, ratio=0.6).double()
    single.load_state_dict(model.state_dict())
    copies = [
        lifted._replace(
            batch=lifted.batch + b,
            point=lifted.point + 12 * b,
            component=lifted.batch + b,
        )
        for b in range(EXAMPLES)
    ]
    whole = type(lifted)(*map(torch.cat, zip(*copies, strict=True)))
    wanted = single(x.flatten(0, 1), lifted=whole)
    torch.testing.assert_close(shared, wanted)
    torch.testing.assert_close(model(x, lifted=lifted, graph=resolutions), shared)
    for part in (model, single):
        part.zero_grad()
    model(x, lifted=lifted).square().sum().backward()
    single(x.flatten(0, 1), lifted=whole).square().sum().backward()
    for mine, other in zip(model.parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-8, atol=1e-10)


def test_vectors_out():
    group = SE3()
    _, pos, _ = make_points(group, (9,))
    x = torch.randn(EXAMPLES, 9, 3).double()
    model = LieResNet(3, 2, group, 16, 2, lift="frames", out_vectors=True).double()
    model = randomize(model).eval()
    batch = torch.arange(EXAMPLES).repeat_interleave(9)
    wanted = model(x.flatten(0, 1), pos.repeat(EXAMPLES, 1), batch)
    torch.testing.assert_close(model(x, pos), wanted)


@pytest.mark.parametrize("pool", ["mean", None])
@pytest.mark.parametrize("group", [SE3(), SO2()], ids=str)
def test_vectors_in(group, pool):
    _, pos, _ = make_points(group, (9,))
    d, settings = group.space_dim, dict(pool=pool, out_vectors=True, in_vectors=2)
    x, vectors = torch.randn(EXAMPLES, 9, 3), torch.randn(EXAMPLES, 9, 2, d)
    x, vectors = x.double(), vectors.double()
    lift = "frames" if group.stabilizer_dim else "haar"
    model = LieResNet(3, 2, group, 16, 2, lift=lift, **settings).double()
    model = randomize(model).eval()
    batch = torch.arange(EXAMPLES).repeat_interleave(9)
    flat = dict(vectors=vectors.flatten(0, 1))
    wanted = model(x.flatten(0, 1), pos.repeat(EXAMPLES, 1), batch, **flat)
    out = model(x, pos, vectors=vectors)
    torch.testing.assert_close(out.flatten(0, -3), wanted.flatten(0, -3))
    with pytest.raises(ValueError, match="'vectors' must be of shape"):
        model(x, pos, vectors=vectors[0])


def test_compile_and_autocast():
    x, pos, _ = make_points(SO2(), (9,), torch.float, channels=4)
    x = torch.stack([x, 2 * x])
    conv = LieConv(4, 5, SO2()).eval()
    lifted, graph = graph_of(SO2(), pos)
    arguments = x, lifted, graph.edge_index, graph.edge_attr
    out = conv(*arguments)
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*arguments), out)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(conv(*arguments).float(), out, rtol=0.05, atol=0.05)


def test_what_does_not_fit():
    lifted, graph = graph_of(T(2), torch.rand(5, 2).double())
    with pytest.raises(ValueError, match="'x' has no examples"):
        LieConv(4, 5, T(2))(torch.rand(0, 5, 4), lifted, graph.edge_index)
    model = LieResNet(3, 2, T(2), 16, 1)
    x, pos = torch.randn(2, 9, 3), torch.randn(9, 2)
    with pytest.raises(ValueError, match="'x' has 9 rows for 8 points"):
        model(x, pos[:8])
    with pytest.raises(ValueError, match="give those of one"):
        model(x, pos, torch.tensor([0] * 5 + [1] * 4))
    with pytest.raises(ValueError, match="'batch_size' must be 2"):
        model(x, pos, batch_size=4)
    with pytest.raises(ValueError, match="'x' must be of shape"):
        model(torch.randn(0, 9, 3), pos)
    with pytest.raises(ValueError, match="'x' must be a tensor of shape"):
        LieConv(3, 2, T(2))(x[None], *graph_of(T(2), pos))
