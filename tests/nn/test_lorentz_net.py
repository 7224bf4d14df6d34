import pytest
import torch

from lieconv_pyg.nn import InvariantMetricConv
from lieconv_pyg.nn.lorentz_net import LorentzNet, masses

from .conftest import randomize
from .jets import boost, jets


def make(**settings):
    torch.manual_seed(0)
    settings = {"hidden_channels": 8, "num_layers": 3, "step": 0.1} | settings
    network = randomize(LorentzNet(**settings)).double().eval()
    for layer in network.layers[:-1]:
        torch.nn.init.normal_(layer.pos_mlp[-1].weight)
    return network


def test_published_network():
    """Sizes of layers, and where each is."""
    network = LorentzNet()
    assert str(network) == "LorentzNet(hidden_channels=72, num_layers=6, beams=True)"
    assert [type(layer) for layer in network.layers] == [InvariantMetricConv] * 6
    edge = 146 * 72 + 2 * 72 + 72 * 72 + 72
    node = (72 + 72 + 2) * 72 + 72 + 2 * 72 + 72 * 72 + 72
    gate, move = 73, 72 * 72 + 72 + 72
    ends = 2 * 72 + 72 * 72 + 72 + 72 * 2 + 2
    number = 6 * (edge + node + gate) + 5 * move + ends
    assert sum(p.numel() for p in network.parameters()) == number
    assert [layer.pos_mlp is None for layer in network.layers] == 5 * [False] + [True]
    assert network.layers[0].pos_mlp[-1].weight.abs().max() < 1e-2
    metric = torch.diag(torch.tensor([1.0, -1, -1, -1]))
    assert torch.equal(network.layers[3].metric[0], metric)
    pos, batch = jets()
    assert network(pos.float(), batch).shape == (3, 2)


@pytest.mark.parametrize("mass", [0.0, 0.5])
@pytest.mark.parametrize("rapidity", [0.5, 2.0])
def test_invariance(mass, rapidity):
    pos, batch = jets(mass=mass)
    network = make(beams=False)
    out = network(pos, batch)
    assert out.std(dim=0).max() > 3e-3
    for seed in range(3):
        other = network(pos @ boost(rapidity, seed).T, batch)
        torch.testing.assert_close(other, out, rtol=0, atol=1e-10)
    mirror = pos * pos.new_tensor([1, -1, 1, 1])
    torch.testing.assert_close(network(mirror, batch), out, rtol=0, atol=1e-10)
    assert (network(1.1 * pos, batch) - out).abs().max() > 1e-4


def test_beams_leave_rotations_about_them():
    pos, batch = jets()
    network = make()
    out = network(pos, batch)
    c, s = torch.tensor(0.7).cos(), torch.tensor(0.7).sin()
    turn = torch.eye(4).double()
    turn[1:3, 1:3] = torch.tensor([[c, -s], [s, c]])
    turn[1:3, 1:3] /= torch.linalg.det(turn).sqrt()
    torch.testing.assert_close(network(pos @ turn.T, batch), out, rtol=0, atol=1e-10)
    along = torch.eye(4).double()
    along[::3, ::3] = torch.tensor([[1.25, 0.75], [0.75, 1.25]])
    for g in (along, boost(0.5)):
        assert (network(pos @ g.T, batch) - out).abs().max() > 1e-4


def test_single_precision():
    """Weights in float32, momenta in float64."""
    pos, batch = jets()
    network = make(beams=False).float()
    out = network(pos, batch)
    assert out.dtype == torch.float32
    other = network(pos @ boost(2.0).T, batch)
    torch.testing.assert_close(other, out, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network(pos.float(), batch), out, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("beams", [True, False])
def test_order_and_batches(beams):
    pos, batch = jets()
    network = make(beams=beams)
    out = network(pos, batch)
    for jet in range(3):
        one = network(pos[batch == jet])
        torch.testing.assert_close(one[0], out[jet])
    order = torch.randperm(22, generator=torch.Generator().manual_seed(0))
    order = order[batch[order].argsort(stable=True)]
    torch.testing.assert_close(network(pos[order], batch), out)
    # A jet without constituents, and one with a single one.
    more = network(pos[:8], batch[:8], 4)
    torch.testing.assert_close(more[0], out[0])
    assert more.shape == (4, 2) and more.isfinite().all()
    assert network.train()(pos[:1]).isfinite().all()


def test_all_pairs_without_loops():
    pos, batch = jets((4, 1, 3))
    found = {}

    def hook(module, args):
        found["edges"] = args[2]

    network = make(beams=False)
    network.layers[0].register_forward_pre_hook(hook)
    network(pos, batch)
    pairs = [(i, j) for i in range(8) for j in range(8)]
    wanted = {(i, j) for i, j in pairs if i != j and batch[i] == batch[j]}
    assert set(zip(*found["edges"].tolist(), strict=True)) == wanted
    assert found["edges"].size(1) == 12 + 6


def test_gradients_are_finite():
    pos, batch = jets()
    pos[1] = pos[0]
    pos[2] = 0
    pos.requires_grad_()
    network = make()
    network(pos, batch).square().sum().backward()
    assert pos.grad.isfinite().all() and pos.grad.any()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    some, batch = jets((3, 2), mass=0.5)
    assert torch.autograd.gradcheck(lambda p: network(p, batch), some.requires_grad_())


def test_masses():
    pos = torch.tensor([[5.0, 3, 0, 0], [5, 3, 4, 0], [3, 5, 0, 0]]).double()
    assert masses(pos, torch.double).tolist() == [4, 0, 4]
    light, _ = jets((50,))
    assert not masses(light @ boost(2.0).T, torch.double).any()
    # In single precision more is rounding.
    assert not masses(light.float().double(), torch.float).any()
    assert masses(light.float().double(), torch.double).any()


def test_reset_parameters():
    network = make()
    for p in network.parameters():
        torch.nn.init.constant_(p, 7.0)
    network.reset_parameters()
    assert not any((p == 7).any() for p in network.parameters())


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"out_channels": 0}, "'out_channels' must be at least 1"),
        ({"hidden_channels": 0}, "'hidden_channels' must be at least 1"),
        ({"num_layers": 0}, "'num_layers' must be at least 1"),
        ({"dropout": 1.0}, r"'dropout' must be in \[0, 1\)"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        LorentzNet(**settings)


def test_bad_momenta():
    pos, batch = jets()
    network = make()
    for given, message in (
        ((pos[:, :3], batch), r"four-momenta .* \(got \(22, 3\)\)"),
        ((pos / 0, batch), "NaN or infinite"),
        ((-pos, batch), r"22 momenta .* with E < |p|, which no particle has"),
        ((pos[:0], batch[:0]), "'pos' is empty"),
        ((pos, batch, 2), "'batch_size' must be at least 3"),
        ((pos, batch.flip(0)), "non-decreasing"),
    ):
        with pytest.raises(ValueError, match=message):
            network(*given)
    with pytest.raises(TypeError, match="float32 or float64"):
        network(pos.long(), batch)
