import pytest
import torch

from lieconv_pyg.nn import aggregation
from lieconv_pyg.nn.aggregation import (
    _gradients_op,
    _sum_op,
    aggregate,
    aggregate_reference,
)
from lieconv_pyg.nn.tiles import make_tiling


def make_inputs(num_edges, size, channels=3, kernels=4, skewed=False, sort=True):
    generator = torch.Generator().manual_seed(num_edges)
    like = {"dtype": torch.double, "generator": generator}
    x = torch.randn(size + 2, channels, requires_grad=True, **like)
    kernel = torch.randn(num_edges, kernels, requires_grad=True, **like)
    source = torch.randint(0, size + 2, (num_edges,), generator=generator)
    target = torch.randint(0, size, (num_edges,), generator=generator)
    if skewed:  # one target with most of the edges, and targets without any
        target[: num_edges * 3 // 4] = size // 2
    return x, kernel, torch.stack([source, target.sort().values if sort else target])


def make_components(sizes, density, channels=3, kernels=4):
    """Edges within components of given numbers of sources and targets."""
    generator = torch.Generator().manual_seed(len(sizes))
    number = torch.arange(len(sizes))
    src = number.repeat_interleave(torch.tensor([n for n, _ in sizes]))
    dst = number.repeat_interleave(torch.tensor([n for _, n in sizes]))
    edges = torch.rand(len(dst), len(src), generator=generator) < density
    edge_index = (edges & (src == dst[:, None])).nonzero().t().flip(0)
    like = {"dtype": torch.double, "generator": generator, "requires_grad": True}
    x = torch.randn(len(src), channels, **like)
    kernel = torch.randn(edge_index.size(1), kernels, **like)
    return x, kernel, edge_index, src, dst


def check(x, kernel, edge_index, size, tiling=None):
    """Values, gradients and gradients of gradients are those of the definition."""

    def derivatives(out):
        seed = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
        value = (out * seed).sin().sum()
        first = torch.autograd.grad(value, (x, kernel), create_graph=True)
        value = first[0].sin().sum() + first[1].cos().sum()
        return first, torch.autograd.grad(value, (x, kernel))

    out = aggregate(x, kernel, edge_index, size, tiling)
    expected = aggregate_reference(x, kernel, edge_index, size)
    assert out.shape == (size, kernel.size(1), x.size(1))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(derivatives(out), derivatives(expected))


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("skewed", [True, False])
@pytest.mark.parametrize("num_edges,size", [(0, 3), (1, 1), (20, 4), (300, 40)])
def test_aggregate_is_the_reference(num_edges, size, skewed, sort):
    check(*make_inputs(num_edges, size, skewed=skewed, sort=sort), size)


@pytest.mark.parametrize("piece", [1, 1 << 10, 1 << 21])
@pytest.mark.parametrize("density", [1.0, 0.7, 0.05])
@pytest.mark.parametrize(
    "sizes",
    [
        [(3, 3), (4, 4), (9, 9), (3, 3)],
        [(5, 2), (0, 3), (4, 0), (1, 1)],
        [(70, 150), (30, 64), (30, 65)],
    ],
)
def test_tiles_of_components(sizes, density, piece, monkeypatch):
    monkeypatch.setattr(aggregation, "_PIECE", piece)
    x, kernel, edge_index, src, dst = make_components(sizes, density)
    tiling = make_tiling(edge_index, len(dst), src, dst)
    assert any(tile.edges.size(2) > 1 for tile in tiling.tiles) == (density > 0.1)
    check(x, kernel, edge_index, len(dst), tiling)


def test_tiles_of_edges_in_any_order():
    x, kernel, edge_index, src, dst = make_components([(6, 5), (7, 7)], 0.7)
    edge_index = edge_index[:, torch.randperm(edge_index.size(1))]
    check(x, kernel, edge_index, len(dst), make_tiling(edge_index, len(dst), src, dst))


def test_edges_between_components_and_edges_that_are_there_twice():
    x, kernel, edge_index, src, dst = make_components([(4, 4), (4, 4)], 1.0)
    for extra in (torch.tensor([[0], [7]]), edge_index[:, 1:2]):
        more = torch.cat([edge_index[:, 1:], extra], dim=1)
        tiling = make_tiling(more, len(dst), src, dst)
        assert all(tile.edges.size(2) == 1 for tile in tiling.tiles)
        check(x, kernel, more, len(dst), tiling)


def test_tiles_waste_little():
    """Padding costs less than a quarter, for degrees of any kind."""
    degree = torch.arange(1, 400).repeat(2)
    target = torch.arange(len(degree)).repeat_interleave(degree)
    tiling = make_tiling(torch.stack([target, target]), len(degree))
    assert sum(tile.edges.numel() for tile in tiling.tiles) < 1.25 * len(target)
    assert len(tiling.tiles) < 40


@pytest.mark.parametrize(
    "sizes", [[(100, 1)] * 200 + [(100, 64)], [(64, 64)] + [(65, 65)] * 20]
)
def test_tiles_of_components_waste_little(sizes):
    _, _, edge_index, src, dst = make_components(sizes, 1.0)
    tiling = make_tiling(edge_index, len(dst), src, dst)
    assert sum(t.edges.numel() for t in tiling.tiles) < 1.25 * edge_index.size(1)
    assert len(tiling.tiles) < 4


def test_one_bad_component_spoils_no_other():
    sizes = [(4, 4), (5, 5), (5, 5), (4, 4)]
    x, kernel, edge_index, src, dst = make_components(sizes, 1.0)
    tiling = make_tiling(edge_index, len(dst), src, dst)
    bad = x.detach().clone()
    bad[src == 1] = float("nan")
    out = aggregate(bad, kernel, edge_index, len(dst), tiling)
    assert torch.equal(out.isnan().any(2).any(1), dst == 1)
    for component in (1, 3):
        out = aggregate(x, kernel, edge_index, len(dst), tiling)
        seed = torch.ones_like(out)
        seed[(dst == component).nonzero().view(-1)[-1]] = float("nan")
        grad_x, grad_kernel = torch.autograd.grad(out, (x, kernel), seed)
        assert torch.equal(grad_x.isnan().any(1), src == component)
        assert not grad_kernel.isnan().any(1)[src[edge_index[0]] != component].any()


def test_targets_that_do_not_exist():
    x, kernel, edge_index = make_inputs(20, 4)
    with pytest.raises(IndexError, match="'edge_index' has the target 3, of 3"):
        aggregate(x, kernel, edge_index, 3)


@pytest.mark.parametrize("sort", [True, False])
def test_gradients(sort):
    x, kernel, edge_index = make_inputs(12, 4, skewed=True, sort=sort)

    def apply(x, kernel):
        return aggregate(x, kernel, edge_index, 5)

    assert torch.autograd.gradcheck(apply, (x, kernel))
    assert torch.autograd.gradgradcheck(apply, (x, kernel))


def test_gradient_of_one_argument():
    x, kernel, edge_index = make_inputs(12, 4)
    for one, other in ((x, kernel), (kernel, x)):
        found = []
        for function in (aggregate, aggregate_reference):
            fixed = other.detach()
            pair = (one, fixed) if one is x else (fixed, one)
            value = function(*pair, edge_index, 4).sin().sum()
            (first,) = torch.autograd.grad(value, one, create_graph=True)
            (second,) = torch.autograd.grad(first.sin().sum(), one)
            found.append((first, second))
        torch.testing.assert_close(*found)


def test_third_derivative_and_torch_func():
    x, kernel, edge_index = make_inputs(10, 3, sort=False)
    x, kernel = x.detach(), kernel.detach()

    def third(function):
        def value(x):
            steep = kernel.cos() + x[edge_index[0], :1]
            return function(x, steep, edge_index, 3).pow(3).sum()

        for _ in range(2):
            value = (lambda f: lambda x: torch.func.grad(f)(x).sin().sum())(value)
        return torch.func.grad(value)(x)

    torch.testing.assert_close(third(aggregate), third(aggregate_reference))
    jacobians = [
        torch.func.jacrev(lambda x, f=f: f(x, kernel, edge_index, 3))(x)
        for f in (aggregate, aggregate_reference)
    ]
    torch.testing.assert_close(*jacobians)


def test_forward_mode_and_batched_gradients():
    x, kernel, edge_index = make_inputs(10, 3)
    x, kernel = x.detach(), kernel.detach()
    found = []
    for function in (aggregate, aggregate_reference):

        def value(x, f=function):
            return f(x, kernel + x[edge_index[0], :1], edge_index, 3).pow(3).sum()

        hessian = torch.autograd.functional.hessian
        found.append(
            (
                torch.func.jvp(value, (x,), (x.cos(),))[1],
                torch.func.hessian(value)(x),
                hessian(value, x, vectorize=True),
                hessian(value, x),
            )
        )
    torch.testing.assert_close(*found)
    torch.testing.assert_close(found[0][2], found[0][3])


def test_operators_obey_the_rules():
    x, kernel, edge_index = make_inputs(10, 3)
    x, kernel = x.detach(), kernel.detach()
    grad = torch.randn(3, 4, 3, dtype=torch.double)
    torch.library.opcheck(_sum_op, (x, kernel, edge_index, 3))
    for need in ((True, True), (True, False), (False, True)):
        torch.library.opcheck(_gradients_op, (grad, x, kernel, edge_index, *need))


def test_memory_is_linear_in_edges():
    """Neither an outer product an edge, nor padding to the largest degree."""
    x, kernel, edge_index = make_inputs(3000, 1000, channels=8, kernels=16, skewed=True)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    with Watch():
        aggregate(x.detach(), kernel.detach(), edge_index, 1000)
    result = 1001 * 8 * 16
    assert largest <= max(result, 2 * 3000 * 16)
