import pytest
import torch

from lieconv_pyg.neighbors.layout import example_pairs
from lieconv_pyg.nn import EGNN, EGNNConv

from .baselines import check_network, molecules, rotation


def tiny(**settings):
    torch.manual_seed(0)
    return EGNN(hidden_channels=6, num_layers=2, **settings).double()


@pytest.fixture(
    params=[{}, {"cutoff": 3.0}, {"pool": "sum", "out_channels": 3}], ids=str
)
def network(request):
    torch.manual_seed(0)
    return EGNN(hidden_channels=16, num_layers=3, **request.param).double()


def moving_conv(**settings):
    """A layer that moves positions by much."""
    torch.manual_seed(0)
    conv = EGNNConv(4, 6, update_pos=True, **settings).double()
    torch.nn.init.normal_(conv.pos_mlp[-1].weight)
    return conv


def points(dim=3):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    pos = torch.randn(5, dim, generator=generator, dtype=torch.float64)
    edge_index = torch.tensor([[1, 2, 0, 3, 1, 0], [0, 0, 1, 1, 2, 3]])
    edge_attr = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    edge_weight = 2 * torch.rand(6, generator=generator, dtype=torch.float64)
    return x, pos, edge_index, edge_attr, edge_weight


@pytest.mark.parametrize("attention", [True, False])
def test_conv_is_the_formula(attention):
    x, pos, edge_index, edge_attr, edge_weight = points()
    total = torch.zeros(5).double().index_add(0, edge_index[1], edge_weight)
    assert (total > 1.1).any() and ((0 < total) & (total < 0.9)).any()
    conv = moving_conv(edge_dim=2, attention=attention)
    out, moved = conv(x, pos, edge_index, edge_attr, edge_weight)
    for i in range(5):
        total, shift, weights = x.new_zeros(6), pos.new_zeros(3), 0.0
        for e in (edge_index[1] == i).nonzero().flatten():
            j = edge_index[0, e]
            square = ((pos[i] - pos[j]) ** 2).sum().view(1)
            m = conv.edge_mlp(torch.cat([x[i], x[j], square, edge_attr[e]]))
            gate = conv.gate(m).sigmoid() if attention else 1.0
            total = total + edge_weight[e] * gate * m
            shift = shift + edge_weight[e] * (pos[i] - pos[j]) * conv.pos_mlp(m)
            weights += edge_weight[e]
        expected = x[i] + conv.node_mlp(torch.cat([x[i], total]))
        assert torch.allclose(out[i], expected, atol=1e-12)
        expected = pos[i] + shift / max(weights, 1.0)
        assert torch.allclose(moved[i], expected, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_conv_is_equivariant(dim, sign):
    x, pos, edge_index, _, edge_weight = points(dim)
    conv, q = moving_conv(), rotation(dim, sign)
    for weight in (None, edge_weight):
        out, moved = conv(x, pos, edge_index, edge_weight=weight)
        other, image = conv(x, pos @ q.T + 3.0, edge_index, edge_weight=weight)
        assert torch.allclose(other, out, rtol=0, atol=1e-10)
        assert torch.allclose(image, moved @ q.T + 3.0, rtol=0, atol=1e-10)
        assert (moved - pos)[:4].norm(dim=1).min() > 1e-3
        assert torch.equal(moved[4], pos[4])  # no neighbors


def test_conv_keeps_positions_by_default():
    x, pos, edge_index, *_ = points()
    conv = EGNNConv(4).double()
    assert conv(x, pos, edge_index)[1] is pos
    assert str(conv) == "EGNNConv(4, hidden_channels=4)"
    assert str(moving_conv()) == "EGNNConv(4, hidden_channels=6)"


def test_conv_flow():
    x, pos, edge_index, *_ = points()
    out = moving_conv()(x, pos, edge_index)
    other = moving_conv(flow="target_to_source")(x, pos, edge_index.flip(0))
    assert all(torch.allclose(a, b) for a, b in zip(out, other, strict=True))


def test_conv_compiles():
    x, pos, edge_index, *_ = points()
    conv = moving_conv()
    compiled = torch.compile(conv, fullgraph=True, dynamic=True, backend="eager")
    out = compiled(x, pos, edge_index)
    expected = conv(x, pos, edge_index)
    assert all(torch.allclose(a, b) for a, b in zip(out, expected, strict=True))


def test_reset_parameters():
    net = tiny()
    before = [p.clone() for p in net.parameters()]
    net.reset_parameters()
    unchanged = [
        name
        for (name, p), old in zip(net.named_parameters(), before, strict=True)
        if torch.equal(p, old)
    ]
    assert unchanged == []
    conv = moving_conv()
    conv.reset_parameters()
    assert conv.pos_mlp[-1].weight.abs().max() < 1e-2


def test_call_and_repr(network):
    z, pos, batch = molecules()
    out = network(z, pos, batch)
    assert out.shape == (3, network.readout[-1].out_features)
    assert out.dtype == torch.float64
    assert out.std(dim=0).min() > 1e-4
    assert str(network) == "EGNN(hidden_channels=16, num_layers=3)"


def test_symmetries(network):
    check_network(network)


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_derivatives(cutoff):
    net = tiny(cutoff=cutoff)
    z, pos, _ = molecules()
    z, pos = z[:3], pos[:3].clone().requires_grad_()

    def energy(pos):
        return net(z, pos)

    assert torch.autograd.gradcheck(energy, pos)
    assert torch.autograd.gradgradcheck(energy, pos)


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_coincident_atoms(cutoff):
    net = tiny(cutoff=cutoff)
    z, pos, batch = molecules()
    pos[1] = pos[0]
    pos.requires_grad_()
    (grad,) = torch.autograd.grad(net(z, pos, batch).sum(), pos, create_graph=True)
    grad.square().sum().backward()
    assert grad.isfinite().all() and grad.abs().sum() > 0
    seconds = [p.grad for p in (pos, *net.parameters()) if p.grad is not None]
    assert len(seconds) > 10 and all(g.isfinite().all() for g in seconds)


def test_smooth_end():
    """At the cutoff the output and two derivatives go to those of separate atoms."""
    net = tiny(cutoff=2.0)
    z = torch.tensor([6, 8])

    def derivatives(distance):
        d = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
        x = torch.stack([d, torch.zeros_like(d), torch.zeros_like(d)])
        out = net(z, torch.stack([torch.zeros_like(x), x])).sum()
        (first,) = torch.autograd.grad(out, d, create_graph=True)
        (second,) = torch.autograd.grad(first, d)
        return torch.stack([out, first, second]).detach()

    far = net(z, torch.tensor([[0.0, 0, 0], [9.0, 0, 0]]).double()).sum()
    near = derivatives(1.4) - torch.stack([far, 0 * far, 0 * far])
    end = derivatives(2.0 - 1e-6) - torch.stack([far, 0 * far, 0 * far])
    assert near.abs().min() > 1e-5
    assert (end.abs() < near.abs() * torch.tensor([1e-12, 1e-8, 1e-4])).all()


def test_extensive():
    z, pos, _ = molecules()
    a, b = (z[:5], pos[:5]), (z[6:], pos[6:] + 50.0)
    both = torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])
    net = tiny(cutoff=3.0, pool="sum")
    assert torch.allclose(net(*both), net(*a) + net(*b), rtol=0, atol=1e-10)
    net = tiny(cutoff=3.0)
    mean = (5 * net(*a) + 4 * net(*b)) / 9
    assert torch.allclose(net(*both), mean, rtol=0, atol=1e-10)


@pytest.mark.parametrize("cutoff", [None, 3.0])
def test_no_edges(cutoff):
    net = tiny(cutoff=cutoff)
    z, batch = torch.tensor([1, 8]), torch.tensor([0, 1])
    out = net(z, torch.zeros(2, 3).double(), batch)
    assert out.shape == (2, 1) and out.isfinite().all()
    assert not torch.allclose(out[0], out[1])
    one = net(z[:1], torch.ones(1, 3).double())
    assert torch.allclose(one, out[:1], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": "max"}, "pool"),
        ({"hidden_channels": 0}, "hidden_channels"),
        ({"num_layers": 0}, "num_layers"),
        ({"out_channels": 0}, "out_channels"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"cutoff": float("nan")}, "cutoff"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        EGNN(**settings)


def test_bad_arguments_of_conv():
    for settings in ({"in_channels": 0}, {"hidden_channels": 0}, {"edge_dim": -1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            EGNNConv(**{"in_channels": 4, **settings})
    x, pos, edge_index, edge_attr, _ = points()
    with pytest.raises(ValueError, match="'edge_attr' has 2 channels"):
        EGNNConv(4).double()(x, pos, edge_index, edge_attr)
    with pytest.raises(ValueError, match="'edge_attr' has 0 channels"):
        EGNNConv(4, edge_dim=2).double()(x, pos, edge_index)


def test_all_pairs_by_default():
    """Without a cutoff no atom is too far."""
    z, pos, _ = molecules()
    net = tiny()
    x = net.embedding(z[:5])
    pairs = example_pairs(torch.zeros(5, dtype=torch.long))
    for layer in net.layers:
        x, _ = layer(x, 9 * pos[:5], pairs)
    assert torch.allclose(net(z[:5], 9 * pos[:5]), net.readout(x).mean(0), atol=1e-12)
