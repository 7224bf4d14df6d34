import pytest
import torch

from lieconv_pyg.nn.aggregation import (
    _aggregate,
    _to_features,
    _to_kernel,
    aggregate,
    aggregate_reference,
)


def make_inputs(num_edges, size, channels=3, kernels=4, skewed=False, sort=True):
    generator = torch.Generator().manual_seed(num_edges)
    like = {"dtype": torch.double, "generator": generator}
    x = torch.randn(num_edges, channels, requires_grad=True, **like)
    kernel = torch.randn(num_edges, kernels, requires_grad=True, **like)
    index = torch.randint(0, size, (num_edges,), generator=generator)
    if skewed:  # one target with most of the edges, and targets without any
        index[: num_edges * 3 // 4] = size // 2
    return x, kernel, index.sort().values if sort else index


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("skewed", [True, False])
@pytest.mark.parametrize("num_edges,size", [(0, 3), (1, 1), (20, 4), (300, 40)])
def test_aggregate_is_the_reference(num_edges, size, skewed, sort):
    x, kernel, index = make_inputs(num_edges, size, skewed=skewed, sort=sort)
    out = aggregate(x, kernel, index, size)
    expected = aggregate_reference(x, kernel, index, size)
    assert out.shape == (size, 3, 4)
    torch.testing.assert_close(out, expected)

    seed = torch.randn_like(out)
    got = torch.autograd.grad((out * seed).sum(), (x, kernel))
    want = torch.autograd.grad((expected * seed).sum(), (x, kernel))
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("sort", [True, False])
def test_gradients(sort):
    x, kernel, index = make_inputs(12, 4, skewed=True, sort=sort)

    def apply(x, kernel):
        return aggregate(x, kernel, index, 5)

    assert torch.autograd.gradcheck(apply, (x, kernel))
    assert torch.autograd.gradgradcheck(apply, (x, kernel))


def test_third_derivative_and_torch_func():
    x, kernel, index = make_inputs(10, 3, sort=False)
    x, kernel = x.detach(), kernel.detach()

    def third(function):
        def value(x):
            return function(x, kernel.cos() + x[:, :1], index, 3).pow(3).sum()

        for _ in range(2):
            value = (lambda f: lambda x: torch.func.grad(f)(x).sin().sum())(value)
        return torch.func.grad(value)(x)

    torch.testing.assert_close(third(aggregate), third(aggregate_reference))
    jacobians = [
        torch.func.jacrev(lambda x, f=f: f(x, kernel, index, 3))(x)
        for f in (aggregate, aggregate_reference)
    ]
    torch.testing.assert_close(*jacobians)


def test_operators_obey_the_rules():
    x, kernel, index = make_inputs(10, 3)
    x, kernel = x.detach(), kernel.detach()
    grad = torch.randn(3, 3, 4, dtype=torch.double)
    torch.library.opcheck(_aggregate, (x, kernel, index, 3))
    torch.library.opcheck(_to_features, (grad, kernel, index))
    torch.library.opcheck(_to_kernel, (grad, x, index))


def test_memory_is_linear_in_edges(monkeypatch):
    """Neither an outer product an edge, nor padding to the largest degree."""
    x, kernel, index = make_inputs(3000, 1000, channels=8, kernels=16, skewed=True)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    with Watch():
        _aggregate(x.detach(), kernel.detach(), index, 1000)
    result = 1000 * 8 * 16
    assert largest <= max(result, 2 * 3000 * 16)
