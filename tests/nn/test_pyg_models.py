import inspect

import pytest
import torch
import torch_geometric.nn
from torch_geometric.nn.models import dimenet

from lieconv_pyg.nn.graph_net import GraphNet
from lieconv_pyg.nn.pyg_models import (
    DimeNetPlusPlus,
    NearestInteractionGraph,
    SchNet,
    radius_graph,
    triplets,
)

from .baselines import check_network, molecules

SCHNET = {"hidden_channels": 8, "num_filters": 8, "num_interactions": 2}
SCHNET |= {"num_gaussians": 10, "cutoff": 3.0}
DIMENET = {"hidden_channels": 8, "int_emb_size": 4, "out_emb_channels": 8}
DIMENET |= {"num_blocks": 1, "num_spherical": 3, "num_radial": 2, "cutoff": 3.0}
DIMENET |= {"basis_emb_size": 4, "out_channels": 1}
# PyG's default is zeros, of which nothing can be seen.
DIMENET |= {"output_initializer": "glorot_orthogonal"}


@pytest.fixture(scope="module", params=["SchNet", "DimeNetPlusPlus", "GraphNet"])
def network(request):
    torch.manual_seed(0)
    if request.param == "SchNet":
        return SchNet(**SCHNET).double()
    if request.param == "DimeNetPlusPlus":
        return DimeNetPlusPlus(**DIMENET).double()
    return GraphNet(hidden_channels=8, num_layers=2, cutoff=3.0).double().eval()


def brute_force_graph(pos, r, batch, max_num_neighbors=32):
    pairs = []
    for i in range(len(pos)):
        near = [
            ((pos[i] - pos[j]).norm().item(), j)
            for j in range(len(pos))
            if i != j and batch[i] == batch[j] and (pos[i] - pos[j]).norm() < r
        ]
        kept = sorted(j for _, j in sorted(near)[:max_num_neighbors])
        pairs += [(j, i) for j in kept]
    return torch.tensor(pairs, dtype=torch.long).view(-1, 2).T


def brute_force_triplets(edge_index, num_nodes):
    edges = edge_index.T.tolist()
    rows = []
    for ji, (j, i) in enumerate(edges):
        found = [(k, kj) for kj, (k, to) in enumerate(edges) if to == j and k != i]
        rows += [(i, j, k, kj, ji) for k, kj in sorted(found)]
    columns = torch.tensor(rows, dtype=torch.long).view(-1, 5).T
    return (edge_index[1], edge_index[0], *columns)


@pytest.mark.parametrize("most", [32, 2, 1])
@pytest.mark.parametrize("r", [10.0, 3.0, 0.01])
def test_radius_graph(r, most):
    _, pos, batch = molecules()
    edge_index = radius_graph(pos, r, batch, most)
    assert torch.equal(edge_index, brute_force_graph(pos, r, batch, most))
    if most == 32:
        assert edge_index.size(1) == {10.0: 32, 3.0: 18, 0.01: 0}[r]


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(("r", "most"), [(10.0, 32), (3.0, 32), (10.0, 2), (0.01, 32)])
def test_triplets(r, most, shuffled):
    _, pos, batch = molecules()
    edge_index = radius_graph(pos, r, batch, most)
    if shuffled:
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(edge_index.size(1), generator=generator)
        edge_index = edge_index[:, order]
    out = triplets(edge_index, 10)
    expected = brute_force_triplets(edge_index, 10)
    assert all(torch.equal(a, b) for a, b in zip(out, expected, strict=True))
    assert (out[2].numel() > 0) == (r > 1)


@pytest.mark.parametrize("most", [32, 2])  # with 2, not every edge has its reverse
def test_dimenet_is_pygs(monkeypatch, most):
    """PyG's own class, given its graph and triplets by the slow functions above."""
    torch.manual_seed(0)
    net = DimeNetPlusPlus(**DIMENET, max_num_neighbors=most).double()
    original = torch_geometric.nn.DimeNetPlusPlus(
        **DIMENET, max_num_neighbors=most
    ).double()
    original.load_state_dict(net.state_dict())
    assert dimenet.triplets is not triplets and dimenet.radius_graph is not radius_graph
    z, pos, batch = molecules()
    out = net(z, pos, batch)
    assert out[[0, 2]].abs().min() > 1e-6  # the other is an atom alone
    monkeypatch.setattr(dimenet, "radius_graph", brute_force_graph)
    monkeypatch.setattr(dimenet, "triplets", brute_force_triplets)
    assert torch.allclose(original(z, pos, batch), out, rtol=0, atol=1e-12)


def test_schnet_is_pygs():
    torch.manual_seed(0)
    net = SchNet(**SCHNET, max_num_neighbors=1).double()

    def graph(pos, batch):
        i, j = edge_index = brute_force_graph(pos, 3.0, batch, 1)
        return edge_index, (pos[i] - pos[j]).norm(dim=1)

    original = torch_geometric.nn.SchNet(**SCHNET, interaction_graph=graph).double()
    original.load_state_dict(net.state_dict())
    z, pos, batch = molecules()
    expected = original(z, pos, batch)
    assert expected.abs().min() > 1e-6
    assert torch.allclose(net(z, pos, batch), expected, rtol=0, atol=1e-12)


def test_schnet_takes_a_graph():
    graph = NearestInteractionGraph(1.0, 1)
    assert SchNet(**SCHNET, interaction_graph=graph).interaction_graph is graph
    assert SchNet(8, 8, 1).hidden_channels == 8
    graph = SchNet(**SCHNET, max_num_neighbors=5).interaction_graph
    assert (graph.cutoff, graph.max_num_neighbors) == (3.0, 5)


def test_repr():
    assert str(SchNet(**SCHNET)) == (
        "SchNet(hidden_channels=8, num_filters=8, num_interactions=2, "
        "num_gaussians=10, cutoff=3.0)"
    )


def test_published_dimenet():
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(DimeNetPlusPlus).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    assert defaults == {
        "hidden_channels": 128,
        "out_channels": 1,
        "num_blocks": 4,
        "int_emb_size": 64,
        "basis_emb_size": 8,
        "out_emb_channels": 256,
        "num_spherical": 7,
        "num_radial": 6,
    }
    original = inspect.signature(torch_geometric.nn.DimeNetPlusPlus).parameters
    assert list(original)[: len(defaults)] == list(defaults)


def test_symmetries(network):
    check_network(network)


def test_no_edges(network):
    z, batch = torch.tensor([1, 8]), torch.tensor([0, 1])
    pos = torch.zeros(2, 3).double().requires_grad_()
    out = network(z, pos, batch)
    assert out.shape == (2, 1) and out.isfinite().all()
    out.sum().backward()
    assert pos.grad is None or pos.grad.isfinite().all()
    assert network(z[:1], pos[:1]).shape == (1, 1)


def test_continuous_at_the_cutoff(network):
    if isinstance(network, GraphNet):
        pytest.skip("its graph ends abruptly")
    z = torch.tensor([6, 8])

    def at(distance):
        pos = torch.zeros(2, 3, dtype=torch.float64)
        pos[1, 0] = distance
        return network(z, pos)

    assert torch.allclose(at(3.0 - 1e-7), at(3.0 + 1e-7), rtol=0, atol=1e-10)
    assert not torch.allclose(at(1.5), at(4.0), rtol=0, atol=1e-6)


def test_derivatives():
    z, pos, _ = molecules()
    z, pos = z[:3], pos[:3].clone().requires_grad_()
    torch.manual_seed(0)
    for net in (SchNet(**SCHNET).double(), DimeNetPlusPlus(**DIMENET).double()):
        assert torch.autograd.gradcheck(lambda pos, net=net: net(z, pos), pos)
        assert torch.autograd.gradgradcheck(lambda pos, net=net: net(z, pos), pos)


def test_atoms_on_a_line():
    """Carbon dioxide has forces, though PyG's angles have no second derivative."""
    z = torch.tensor([8, 6, 8])
    pos = torch.tensor([[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]]).double()
    pos.requires_grad_()
    (grad,) = torch.autograd.grad(DimeNetPlusPlus(**DIMENET).double()(z, pos), pos)
    assert grad.isfinite().all() and grad[0].norm() > 1e-6
    assert grad[:, 1:].abs().max() < 1e-10


def test_coincident_atoms():
    z, pos, batch = molecules()
    pos[1] = pos[0]
    pos.requires_grad_()
    net = SchNet(**SCHNET).double()
    (grad,) = torch.autograd.grad(net(z, pos, batch).sum(), pos, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), pos)
    assert grad.isfinite().all() and second.isfinite().all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("SchNet", {"hidden_channels": 16, "cutoff": 5.0, "readout": "mean"}),
        ("DimeNetPlusPlus", {"num_radial": 2, "num_spherical": 2, "cutoff": 4.0}),
    ],
)
def test_command_line(name, arguments):
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(torch.nn.Module, "net")
    call = [f"--net=lieconv_pyg.nn.pyg_models.{name}"]
    call += [f"--net.init_args.{key}={value}" for key, value in arguments.items()]
    config = parser.parse_args(call)
    assert {key: config.net.init_args[key] for key in arguments} == arguments
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes
    net = instantiate(config).net
    assert type(net).__name__ == name and net.cutoff == arguments["cutoff"]
    with pytest.raises(jsonargparse.ArgumentError, match="not accepted"):
        parser.parse_args([*call, "--net.hiden_channels=3"])
