import pytest
import torch
import torch.nn.functional as F

from lieconv_pyg.nn.swish import Swish


def test_is_silu_to_any_derivative():
    x = 3 * torch.randn(50, dtype=torch.double)
    found = []
    for f in (Swish(), F.silu):
        y = x.clone().requires_grad_()
        values = [f(y)]
        for _ in range(3):
            (slope,) = torch.autograd.grad(values[-1].cos().sum(), y, create_graph=True)
            values.append(slope)
        found.append(values)
    torch.testing.assert_close(*found)


def test_second_derivative_in_place():
    """Where it is not differentiated again, written over memory of its own only."""
    x = torch.randn(20, dtype=torch.double, requires_grad=True)
    found = []
    for f in (Swish(), F.silu):
        (slope,) = torch.autograd.grad(f(x).pow(2).sum(), x, create_graph=True)
        kept = slope.detach().clone()
        found.append(torch.autograd.grad(slope.sin().sum(), x, retain_graph=True)[0])
        again = torch.autograd.grad(slope.sin().sum(), x)[0]
        assert again.equal(found[-1]) and slope.detach().equal(kept)
    torch.testing.assert_close(*found)


def test_keeps_less():
    def kept(f):
        sizes = {}

        def pack(t):
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        x = torch.randn(1000, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            y = f(2 * x)
            slope = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
        del slope
        return sum(sizes.values())

    assert kept(Swish()) < 0.6 * kept(F.silu)


@pytest.mark.filterwarnings("ignore:.*TorchScript.*")
def test_transforms_and_compile():
    x = torch.randn(5, dtype=torch.double)
    for g in (torch.func.grad, torch.func.jacfwd):
        expected = g(lambda x: F.silu(x).sum())(x)
        torch.testing.assert_close(g(lambda x: Swish()(x).sum())(x), expected)
    compiled = torch.compile(Swish(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), F.silu(x))
