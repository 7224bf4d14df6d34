import pytest
import torch

from lieconv_pyg.groups import SE2, SE3, T
from lieconv_pyg.neighbors import radius_graph
from lieconv_pyg.nn import BottleneckBlock, LieConv

from .conftest import make_lifted, make_points, randomize, transport

INF = float("inf")


def make(group, out_channels=12, norm="batch_norm", dtype=torch.double):
    x, pos, batch = make_points(group, channels=8, dtype=dtype)
    lifted = make_lifted(group, pos, batch)
    graph = radius_graph(group, lifted, INF)
    block = BottleneckBlock(8, out_channels, group, norm=norm).to(dtype)
    return randomize(block).eval(), x[lifted.point], lifted, graph


def test_equivariance(group):
    block, x, lifted, graph = make(group)
    out = block(x, lifted, graph.edge_index)
    again = block(x, transport(group, lifted), graph.edge_index)
    assert out.shape == (len(x), 12)
    assert (out - again).abs().max() < 1e-10


def test_residual_of_the_same_points():
    """With the branch switched off, what comes out is what went in, where kept."""
    block, x, lifted, _ = make(SE2())
    torch.nn.init.zeros_(block.lin2.weight)
    torch.nn.init.zeros_(block.lin2.bias)
    keep = torch.tensor([0, 4, 7, 11])
    kept = lifted.select(keep)
    graph = radius_graph(SE2(), lifted, INF, kept)
    out = block(x, (lifted, kept), graph.edge_index, graph.edge_attr, keep=keep)
    assert out[:, :8].equal(x[keep])
    assert out[:, 8:].eq(0).all()


def test_compile_and_export():
    block, x, lifted, graph = make(SE3(), dtype=torch.float)
    args = (x, lifted, graph.edge_index, graph.edge_attr)
    expected = block(*args)
    compiled = torch.compile(block, fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(*args), expected, rtol=1e-4, atol=1e-5)
    program = torch.export.export(block, args, strict=False)
    torch.testing.assert_close(program.module()(*args), expected, rtol=1e-4, atol=1e-5)


def test_one_point_in_training():
    """Statistics of a single point, or a single edge, are not taken."""
    block, x, lifted, _ = make(T(2))
    one = lifted.select(torch.tensor([0]))
    out = block.train()(x[:1], one, torch.zeros(2, 1, dtype=torch.long))
    assert out.isfinite().all()


def test_batch_norm_with_a_large_mean():
    block, x, lifted, graph = make(T(2), dtype=torch.float)
    small = block.train()(x, lifted, graph.edge_index)
    large = block(x + 1e4, lifted, graph.edge_index)
    assert large.isfinite().all()
    torch.testing.assert_close((large - 1e4)[:, :8], small[:, :8], rtol=0, atol=0.05)


@pytest.mark.parametrize("channels", [(2, 8), (8, 4)])
def test_bad_channels(channels):
    with pytest.raises(ValueError, match="channels"):
        BottleneckBlock(*channels, T(2))


def test_repr():
    assert str(make(T(2))[0]) == f"BottleneckBlock(8, 12, group={T(2)})"


@pytest.mark.parametrize("conv", ["LieConv", LieConv(2, 3, T(2))], ids=["name", "one"])
def test_no_convolution(conv):
    with pytest.raises(TypeError, match="'conv' must be a class such as Relaxed"):
        BottleneckBlock(8, 12, T(2), conv=conv)


def test_another_convolution():
    """Made from the arguments of LieConv, and called like it."""
    made = []

    class Noted(LieConv):
        def __init__(self, *args, **kwargs):
            made.append((args, kwargs))
            super().__init__(*args, **kwargs)

    torch.manual_seed(0)
    block = BottleneckBlock(8, 12, T(2), conv=Noted, aggr="add")
    torch.manual_seed(0)
    plain = BottleneckBlock(8, 12, T(2), aggr="add")
    arguments = {"act": "silu", "norm": "batch_norm", "aggr": "add"}
    assert made == [((2, 3, T(2)), arguments)]
    assert list(block.state_dict()) == list(plain.state_dict())
    x, pos, batch = make_points(T(2), channels=8, dtype=torch.float)
    lifted = make_lifted(T(2), pos, batch)
    graph = radius_graph(T(2), lifted, INF)
    out = block(x, lifted, graph.edge_index)
    assert torch.equal(out, plain(x, lifted, graph.edge_index))
