import copy

import pytest
import torch
from torch_geometric.nn import MLP

from lieconv_pyg.nn import kernel_network
from lieconv_pyg.nn.kernel_network import KernelNetwork


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few edges count as many, in pieces of a few."""
    monkeypatch.setattr(kernel_network, "_MANY", 2)
    monkeypatch.setattr(kernel_network, "_PIECE", 64)


def make(channels=(3, 8, 6, 4), norm="batch_norm", act="silu"):
    torch.manual_seed(0)
    network = KernelNetwork(channels, act, norm=norm).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    return network


def count(monkeypatch):
    calls = []
    apply = kernel_network._Network.apply
    monkeypatch.setattr(
        kernel_network._Network,
        "apply",
        lambda *args: calls.append(1) or apply(*args),
    )
    return calls


@pytest.mark.parametrize("channels", [(3, 8, 6, 4), (5, 8, 8, 8, 2), (2, 4, 3)])
@pytest.mark.parametrize("num_edges", [2, 64, 300])
def test_is_the_mlp(num_edges, channels, monkeypatch):
    """Outputs, running statistics, gradients and gradients of gradients."""
    calls = count(monkeypatch)
    network = make(channels)
    other = copy.deepcopy(network)
    x = 5 + 2 * torch.randn(num_edges, channels[0], dtype=torch.double)
    x.requires_grad_()
    found = []
    for model, forward in (
        (network, network),
        (other, lambda x: MLP.forward(other, x)),
    ):
        parameters = [*model.parameters()]
        out = forward(x)
        seed = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
        first = torch.autograd.grad(out, [x, *parameters], seed, retain_graph=True)
        (slope,) = torch.autograd.grad(out, x, seed, create_graph=True)
        second = torch.autograd.grad(
            slope.sin().sum(),
            [x, *parameters],
            allow_unused=True,
            materialize_grads=True,
        )
        found.append((out, *first, *second, *model.buffers()))
    assert calls == [1]
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)


def test_gradcheck():
    network = make()
    x = torch.randn(90, 3, dtype=torch.double, requires_grad=True)
    weights = [lin.weight for lin in network.lins]
    assert torch.autograd.gradcheck(lambda x, *_: network(x), (x, *weights))


def test_large_means():
    """Batch statistics are not differences of large numbers."""
    network = make().float()
    x = torch.randn(300, 3)
    torch.testing.assert_close(network(x + 1000), network(x), rtol=0.02, atol=0.02)


def test_differences_of_far_points():
    """A network that has learned the difference of two numbers far from 0 is as
    accurate as torch's own."""
    network = make((6, 8, 4)).float()
    with torch.no_grad():
        weight = network.lins[0].weight
        weight[:, 3:] = -weight[:, :3]
    center = 300 * torch.randn(500, 1, 3)
    x = (center + torch.randn(500, 2, 3)).flatten(1)
    exact = MLP.forward(copy.deepcopy(network).double(), x.double())
    other = copy.deepcopy(network)
    ours = (network(x) - exact).abs().max()
    assert ours < 3 * (MLP.forward(other, x) - exact).abs().max()
    torch.testing.assert_close([*network.buffers()], [*other.buffers()])


def test_a_network_of_itself():
    """Second derivatives where the input depends on the parameters."""
    network = make((3, 8, 3))
    x = torch.randn(90, 3, dtype=torch.double, requires_grad=True)
    found = []
    for f in (network, lambda x: MLP.forward(network, x)):
        parameters = [*network.parameters()]
        first = torch.autograd.grad(f(f(x)).sin().sum(), x, create_graph=True)
        second = torch.autograd.grad(first[0].sin().sum(), parameters)
        found.append((first, second))
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-7)


def test_batched_gradients():
    network, x = make((3, 5, 2)), torch.randn(70, 3, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian
    found = jacobian(lambda x: network(x)[:2], x, vectorize=True)
    torch.testing.assert_close(found, jacobian(lambda x: network(x)[:2], x))


def test_each_layer_has_its_eps():
    network = make()
    network.norms[1].module.eps = 1.0
    x = torch.randn(70, 3, dtype=torch.double)
    expected = MLP.forward(copy.deepcopy(network), x)
    torch.testing.assert_close(network(x), expected)


def test_keeps_less_than_the_mlp():
    def kept(forward):
        sizes = {}

        def pack(t):
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = forward(x)
        del out
        return sum(sizes.values())

    network, x = make((3, 32, 32, 16)), torch.randn(10_000, 3, dtype=torch.double)
    assert kept(network) < 0.4 * kept(lambda x: MLP.forward(network, x))


@pytest.mark.parametrize(
    "case",
    [
        *("eval", "frozen", "norm", "act", "hook", "act_hook", "autocast", "single"),
        *("dropout", "bfloat16", "momentum", "statistics", "forward_mode"),
    ],
)
def test_other_cases_are_left_to_the_mlp(case, monkeypatch):
    calls = count(monkeypatch)
    norm = None if case == "norm" else "batch_norm"
    network = make(norm=norm, act="relu" if case == "act" else "silu").float()
    x = torch.randn(64, 3)
    if case == "eval":
        network.eval()
    elif case == "hook":
        network.lins[1].register_forward_hook(lambda *_: None)
    elif case == "act_hook":
        network.act.register_full_backward_hook(lambda *_: None)
    elif case == "single":
        network = KernelNetwork([3, 4], "silu", norm="batch_norm")
    elif case == "dropout":
        network = KernelNetwork([3, 5, 4], "silu", norm="batch_norm", dropout=0.5)
    elif case == "bfloat16":
        network, x = network.bfloat16(), x.bfloat16()
    elif case == "frozen":
        network.norms[1].eval()
    elif case == "momentum":
        network.norms[1].module.momentum = None
    elif case == "statistics":
        network.norms[1].module.track_running_stats = False
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        if case == "forward_mode":
            with torch.autograd.forward_ad.dual_level():
                out = network(torch.autograd.forward_ad.make_dual(x, x)).detach()
        else:
            out = network(x)
    assert out.isfinite().all() and not calls


def test_torch_func_and_compile():
    network = make(norm=None)  # batch norm updates its statistics, in no transform
    x = torch.randn(100, 3, dtype=torch.double)
    slope = torch.func.grad(lambda x: network(x).sin().sum())(x)
    expected = torch.autograd.functional.vjp(
        lambda x: network(x).sin().sum(), x, torch.ones((), dtype=torch.double)
    )[1]
    torch.testing.assert_close(slope, expected)
    network = make()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))
