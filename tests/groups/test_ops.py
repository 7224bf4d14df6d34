"""The small tensor operations."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from lieconv_pyg.groups import ops


@pytest.mark.parametrize("shapes", [((4, 2, 3), (4, 3, 5)), ((7, 1, 3, 3), (2, 3, 3))])
def test_products(shapes):
    a, b = (torch.randn(s, dtype=torch.float64) for s in shapes)
    assert_close(ops.matmul(a, b), a @ b)
    assert_close(ops.matvec(a, b[..., 0]), (a @ b[..., :1]).squeeze(-1))


def test_norm_is_exact_at_all_sizes(dtype):
    x = torch.tensor([[3.0, 4.0], [-3.0, 0.0], [0.0, 0.0]], dtype=dtype)
    for scale in (1e-20, 1.0, 1e20):
        expected = torch.tensor([5.0, 3.0, 0.0], dtype=dtype) * scale
        assert_close(ops.norm(x * scale), expected, rtol=1e-6, atol=0)
    assert ops.norm(torch.zeros(4, 0)).shape == (4,)
    assert not ops.norm(torch.zeros(4, 0)).any()


def test_norm_has_finite_derivatives(dtype):
    for size in (0.0, 1e-45, 1e-35, 1e-20, 1e-10, 1.0, 1e30):
        x = torch.full((2, 3), size, dtype=dtype, requires_grad=True)
        (first,) = torch.autograd.grad(ops.norm(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first[:, 0].sum(), x)
        assert bool(first.isfinite().all()), size
        assert bool(second.isfinite().all()), size
        if size == 0:
            assert not first.any()
            assert not second.any()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ops.norm, (x,))
    assert gradgradcheck(ops.norm, (x,))


def test_unit_vector(dtype):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]], dtype=dtype)
    direction, length = ops.unit_vector(x)
    expected = torch.tensor([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]], dtype=dtype)
    assert_close(direction, expected)
    assert_close(length, torch.tensor([5.0, 0.0, 2.0], dtype=dtype))


def test_wrap_angle(dtype):
    eps = ops.branch_tolerance(dtype)
    pi = torch.pi
    angle = torch.tensor([0.0, 3.0, -3.0, pi, -pi, -pi + eps / 2, -pi + 3 * eps])
    angle = angle.to(dtype) if dtype == torch.float32 else angle.double()
    angle[3:5] = torch.tensor([pi, -pi], dtype=dtype)
    angle[5:] = torch.tensor([-pi + eps / 2, -pi + 3 * eps], dtype=dtype)
    wrapped = ops.wrap_angle(angle)
    turned = torch.tensor([0, 0, 0, 0, 1, 1, 0], dtype=dtype)
    assert_close(wrapped, angle + 2 * pi * turned, rtol=1e-6, atol=1e-6)


def test_random_numbers_do_not_depend_on_the_target_device():
    for function in (ops.rand, ops.randn):
        one = function((3, 2), torch.Generator().manual_seed(4), torch.float64)
        two = function((3, 2), torch.Generator().manual_seed(4), torch.float64, "cpu")
        assert torch.equal(one, two)
        assert function((3,), dtype=torch.float64).dtype == torch.float64
    assert function((2,), torch.Generator(), None, "meta").device.type == "meta"


def test_homogeneous():
    linear, translation = torch.randn(4, 1, 3, 3), torch.randn(5, 3)
    out = ops.homogeneous(linear, translation)
    assert out.shape == (4, 5, 4, 4)
    assert torch.equal(out[2, 3, :3, :3], linear[2, 0])
    assert torch.equal(out[2, 3, :3, 3], translation[3])
    assert out[2, 3, 3].tolist() == [0, 0, 0, 1]
