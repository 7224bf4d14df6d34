import pytest
import torch

from lieconv_pyg.datasets import ToyJets
from lieconv_pyg.groups import SE3, SO2, SO3, Lorentz, T
from lieconv_pyg.groups.minkowski import to_rest_frame
from lieconv_pyg.nn import JetLieResNet

from .conftest import randomize
from .jets import boost, jets

NETWORKS = [(SO3(), {}), (SO3(), {"points": "directions"}), (SE3(), {})]
NETWORKS += [(SE3(alpha=0.5), {"fill": 0.5, "num_neighbors": 5})]
NETWORKS += [(Lorentz(), {}), (Lorentz(alpha=0.5, beta=0.2), {"fill": 0.5})]


def make(group=None, **settings):
    torch.manual_seed(0)
    settings = {"hidden_channels": 8, "num_layers": 2, "pos_scale": 1.0} | settings
    network = randomize(JetLieResNet(group or SO3(), **settings)).double()
    pos, batch = jets()
    network.calibrate(pos, batch)
    return network.eval()


@pytest.mark.parametrize("group,settings", NETWORKS, ids=str)
@pytest.mark.parametrize("mass", [0.0, 0.5])
def test_invariance(group, settings, mass):
    pos, batch = jets(mass=mass)
    network = make(group, **settings)
    out = network(pos, batch)
    assert out.std(dim=0).max() > 1e-3
    for rapidity, seed in ((0.0, 0), (0.7, 1), (2.0, 2), (2.0, 3)):
        other = network(pos @ boost(rapidity, seed).T, batch)
        torch.testing.assert_close(other, out, rtol=0, atol=1e-10)
    assert (network(1.1 * pos, batch) - out).abs().max() > 1e-4


def test_invariance_on_toy_jets():
    """Of momenta that have 30 times the mass of their jet in some frames."""
    data = ToyJets("test", 6)
    batch = torch.arange(6).repeat_interleave(data.counts)
    pos = torch.cat([item.pos for item in data])
    network = make(pos_scale=20.0)
    out = network(pos, batch)
    scaled = make().double()(pos / 20, batch)
    torch.testing.assert_close(scaled, out)
    for seed in range(3):
        g = boost(2.0, seed)
        torch.testing.assert_close(network(pos @ g.T, batch), out, rtol=0, atol=1e-10)


def test_other_groups_see_the_frame():
    """The test above could fail."""
    pos, batch = jets()
    network = make(T(3))
    out = network(pos, batch)
    assert (network(pos @ boost(2.0).T, batch) - out).abs().max() > 1e-6
    drawn = make(SO3(), lift="haar", num_lifts=2)
    other = drawn(pos @ boost(2.0).T, batch)
    assert (other - drawn(pos, batch)).abs().max() > 1e-6


def test_at_rest():
    pos, batch = jets((5, 3))
    network = make()
    total = torch.stack([pos[batch == jet].sum(0) for jet in (0, 1)])
    mass = (total[:, 0] ** 2 - total[:, 1:].square().sum(1)).sqrt()[batch]
    x, at = network._at_rest(pos, batch, 2)
    rest = to_rest_frame(pos, total[batch])
    torch.testing.assert_close(at, rest[:, 1:])
    for jet in (0, 1):
        assert at[batch == jet].sum(0).abs().max() < 1e-12
    wanted = torch.stack([(rest[:, 0] / mass).log(), mass.log()], dim=1)
    torch.testing.assert_close(x, wanted)
    _, n = make(points="directions")._at_rest(pos, batch, 2)
    torch.testing.assert_close(n, at / at.norm(dim=1, keepdim=True))


def test_order_and_batches():
    pos, batch = jets()
    network = make()
    out = network(pos, batch)
    for jet in range(3):
        torch.testing.assert_close(network(pos[batch == jet])[0], out[jet])
    order = torch.randperm(22, generator=torch.Generator().manual_seed(0))
    order = order[batch[order].argsort(stable=True)]
    torch.testing.assert_close(network(pos[order], batch), out)
    more = network(pos, 2 * batch, 6)
    torch.testing.assert_close(more[::2], out)
    assert more.shape == (6, 2) and more.isfinite().all()
    assert network.train()(pos, batch).isfinite().all()


def test_single_precision():
    pos, batch = jets()
    network = make().float()
    out = network(pos, batch)
    assert out.dtype == torch.float32
    other = network(pos @ boost(2.0).T, batch)
    torch.testing.assert_close(other, out, rtol=1e-3, atol=1e-3)


def test_gradients():
    pos, batch = jets((4, 3))
    network = make()
    assert torch.autograd.gradcheck(lambda p: network(p, batch), pos.requires_grad_())
    network(pos, batch).sum().backward()
    grads = [p.grad for p in network.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_few_constituents():
    """Two massless ones, which are back to back; one that has a mass, at rest."""
    pair = torch.tensor([[2.0, 0, 0, 2], [1, 0, 0.6, 0.8]]).double()
    one = torch.tensor([[5.0, 3, 0, 0]]).double()
    for points in ("momenta", "directions"):
        network = make(points=points)
        for pos in (pair, one):
            pos = pos.clone().requires_grad_()
            out = network(pos)
            other = network(pos @ boost(1.0).T)
            torch.testing.assert_close(other, out, rtol=0, atol=1e-10)
            out.sum().backward()
            assert pos.grad.isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_no_rest_frame(seed):
    pos, batch = jets((3, 2, 4))
    light = torch.tensor([5.0, 3, 0, 4]).double()
    g = boost(1.0, seed)
    network = make()
    backward = -pos[3:5]
    pos[3:5] = torch.stack([light, 2 * light]) @ g.T
    with pytest.raises(
        ValueError, match=r"the first is number 1 of 'batch'.*has no rest frame"
    ):
        network(pos, batch)
    # Nor has a particle a negative energy, or less energy than momentum.
    for wrong in (backward, pos[3:5] * torch.tensor([0.9, 1, 1, 1])):
        pos[3:5] = wrong
        with pytest.raises(ValueError, match=r"2 momenta .* the first is in row 3"):
            network(pos, batch)


def test_repr_and_reset():
    network = make(SE3(), num_layers=3)
    text = "LieResNet(2, 2, group=SE3(alpha=0.2), num_layers=3)"
    assert text in str(network) and str(network).startswith("JetLieResNet(")
    for p in network.parameters():
        torch.nn.init.constant_(p, 7.0)
    network.reset_parameters()
    assert not any((p == 7).all() for p in network.parameters())


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"group": SO2()}, "jets need a group that acts on space"),
        ({"points": "energies"}, "'points' must be 'momenta' or 'directions'"),
        ({"pos_scale": 0.0}, "'pos_scale' must be positive"),
        ({"out_channels": 0}, "'out_channels' must be at least 1"),
        ({"lift": "all"}, "'lift' must be 'haar' or 'frames'"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        JetLieResNet(**{"group": SO3()} | settings)


def test_bad_momenta():
    network = make()
    with pytest.raises(ValueError, match="four-momenta"):
        network(torch.ones(4, 3))
    with pytest.raises(ValueError, match="'batch_size' must be at least 3"):
        network(*jets(), 2)
