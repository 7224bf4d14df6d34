import pytest
import torch

from lieconv_pyg.nn.graph_net import GraphNet

from .baselines import check_network, molecules


@pytest.fixture(params=[{}, {"cutoff": 3.0}, {"pool": "sum", "out_channels": 3}])
def network(request):
    torch.manual_seed(0)
    net = GraphNet(hidden_channels=16, num_layers=2, **request.param).double()
    net(*molecules())  # running statistics
    return net.eval()


def test_call_and_repr(network):
    z, pos, batch = molecules()
    out = network(z, pos, batch)
    assert out.shape == (3, network.readout[-1].out_features)
    assert str(network) == "GraphNet(hidden_channels=16, num_layers=2)"
    assert torch.allclose(network(z[:5], pos[:5]), out[:1])


def test_symmetries(network):
    check_network(network)


def test_gradients_are_finite():
    z, pos, batch = molecules()
    pos[1] = pos[0]
    pos.requires_grad_()
    net = GraphNet(hidden_channels=8, num_layers=1).double()
    net(z, pos, batch).sum().backward()
    assert pos.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_single_atoms_train():
    net = GraphNet(hidden_channels=8, num_layers=1)
    out = net(torch.tensor([1, 8]), torch.zeros(2, 3), torch.tensor([0, 1]))
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": "max"}, "pool"),
        ({"hidden_channels": 0}, "hidden_channels"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"basis_stop": 0.0}, "basis_stop"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        GraphNet(**settings)
