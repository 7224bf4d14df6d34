"""Shapes, names, copies, equality, precision, compilation and errors."""

import copy
import pickle

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg import groups
from lieconv_pyg.groups import (
    SE2,
    SE3,
    SIM2,
    SO2,
    SO3,
    SQ,
    Galilei,
    LieGroup,
    Lorentz,
    Rx,
    RxSO2,
    RxSQ,
    T,
    Trivial,
    Tx,
    Ty,
)
from tests.groups.cases import CLOSED_FORM, MATRIX, algebra, points


@pytest.mark.parametrize(
    "shape", [(), (5,), (3,), (3, 3), (3, 3, 3), (0,), (0, 3), (2, 0)]
)
def test_any_leading_shape(any_group, shape):
    g, m, d = any_group, any_group.matrix_dim, any_group.dim
    num = int(torch.tensor(shape).prod()) if shape else 1
    a = algebra(g, num, 0.5, 0.3).reshape(*shape, d)
    u = g.exp(a)
    q = torch.ones(*shape, g.orbit_dim, dtype=a.dtype)
    x = torch.ones(*shape, g.space_dim, dtype=a.dtype)
    pairs = g.pairs(u, q, u, q)
    results = {
        "exp": (u, (m, m)),
        "log": (g.log(u), (d,)),
        "inverse": (g.inverse(u), (m, m)),
        "compose": (g.compose(u, u), (m, m)),
        "relative": (g.relative(u, u), (m, m)),
        "adjoint": (g.adjoint(u), (d, d)),
        "hat": (g.hat(a), (m, m)),
        "vee": (g.vee(g.hat(a)), (d,)),
        "bracket": (g.bracket(a, a), (d,)),
        "act": (g.act(u, x), (g.space_dim,)),
        "pairs": (pairs, (d + 2 * g.orbit_dim,)),
        "distance": (g.distance(pairs), ()),
    }
    for name, (result, trailing) in results.items():
        assert result.shape == (*shape, *trailing), name
        assert result.dtype == torch.float64, name
    phi = g.embed(u, q)
    assert phi is None or phi.shape[:-1] == shape
    # Each entry is what it would be alone.
    if num > 0:
        one = g.log(g.exp(a.reshape(num, d)[-1]))
        assert_close(g.log(u).reshape(num, d)[-1], one, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (Trivial(2), "Trivial(2)"),
        (T(3), "T(3)"),
        (T(3, alpha=0.5), "T(3, alpha=0.5)"),
        (Tx(), "Tx(2)"),
        (Ty(3, alpha=0.1), "Ty(3, alpha=0.1)"),
        (SO2(), "SO2(alpha=0.2)"),
        (RxSO2(), "RxSO2(alpha=0.2)"),
        (Rx(), "Rx(alpha=0.2)"),
        (SQ(), "SQ(alpha=0.2)"),
        (RxSQ(), "RxSQ(alpha=0.2)"),
        (SE2(alpha=0.05), "SE2(alpha=0.05)"),
        (SIM2(window=1), "SIM2(alpha=0.2, window=1.0)"),
        (Galilei(2), "Galilei(2)"),
        (Galilei(1, alpha=0.4), "Galilei(1, alpha=0.4)"),
        (SO3(), "SO3(alpha=0.2)"),
        (SE3(), "SE3(alpha=0.2)"),
        (Lorentz(), "Lorentz(alpha=0.2)"),
        (Lorentz(beta=0.1), "Lorentz(alpha=0.2, beta=0.1)"),
        (T(3).subgroup((0, 2)), "Subgroup(group=T(3), indices=(0, 2))"),
        (
            MATRIX["sl(2)"],
            "MatrixLieGroup(dim=3, matrix_dim=2, space_dim=2, alpha=0.2)",
        ),
    ],
)
def test_repr(group, text):
    assert repr(group) == text


def test_repr_of_closed_forms_makes_them_again(group):
    assert eval(repr(group), vars(groups)) == group


def test_copies(any_group):
    u = any_group.exp(algebra(any_group, 3, 0.5, 0.3))
    pickled = pickle.loads(pickle.dumps(any_group))
    for other in (pickled, copy.deepcopy(any_group), copy.copy(any_group)):
        assert other is not any_group
        assert other == any_group
        assert hash(other) == hash(any_group)
        assert_close(other.log(u), any_group.log(u))


def test_equality():
    every = [*CLOSED_FORM, *MATRIX.values(), SO2(alpha=0.3), T(2, alpha=0.3)]
    for i, one in enumerate(every):
        for j, two in enumerate(every):
            assert (one == two) == (i == j), (one, two)
    assert SE3() != "SE3"
    assert len({SE3(), SE3(alpha=0.2), SE3(alpha=0.3), T(3)}) == 3


def test_dimensions_of_the_table():
    table = {  # dim, orbit_dim, space_dim, stabilizer_dim, commutative
        Trivial(3): (0, 3, 3, 0, True),
        T(3): (3, 0, 3, 0, True),
        Tx(): (1, 1, 2, 0, True),
        Ty(3): (1, 2, 3, 0, True),
        SO2(): (1, 1, 2, 0, True),
        RxSO2(): (2, 0, 2, 0, True),
        Rx(): (1, 1, 2, 0, True),
        SQ(): (1, 1, 2, 0, True),
        RxSQ(): (2, 0, 2, 0, True),
        SE2(): (3, 0, 2, 1, False),
        SIM2(): (4, 0, 2, 2, False),
        Galilei(1): (3, 0, 3, 0, False),
        Galilei(3): (7, 0, 7, 0, False),
        SO3(): (3, 1, 3, 1, False),
        SE3(): (6, 0, 3, 3, False),
        Lorentz(): (6, 1, 4, 3, False),
    }
    for g, expected in table.items():
        actual = (g.dim, g.orbit_dim, g.space_dim, g.stabilizer_dim, g.commutative)
        assert actual == expected, g
        # An element moves the origin in as many directions as it has dimensions.
        assert g.dim - g.stabilizer_dim + g.orbit_dim == g.space_dim


def test_wrong_shapes_and_types(any_group):
    g, m = any_group, any_group.matrix_dim
    for method, name in ((g.exp, "a"), (g.hat, "a")):
        with pytest.raises(ValueError, match=f"`{name}` must have shape"):
            method(torch.zeros(4, g.dim + 1))
        with pytest.raises(TypeError, match=f"`{name}` must be floating point"):
            method(torch.zeros(4, g.dim, dtype=torch.long))
        with pytest.raises(TypeError, match=f"`{name}` must be a tensor, got list"):
            method([0.0])
    for method in (g.log, g.inverse, g.adjoint):
        for shape in ((m, m + 1), (m + 1, m), (m,), ()):
            with pytest.raises(ValueError, match="`u` must have shape"):
                method(torch.zeros(shape))
    with pytest.raises(ValueError, match="`x` must have shape"):
        g.act(torch.eye(m), torch.zeros(g.space_dim + 1))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "0.2", None, True])
def test_wrong_alpha(alpha):
    tx, galilei = (lambda alpha: Tx(2, alpha)), (lambda alpha: Galilei(2, alpha))
    for make in (SE3, SIM2, lambda alpha: T(2, alpha=alpha), Rx, tx, galilei):
        with pytest.raises(ValueError, match="`alpha` must be a number in"):
            make(alpha=alpha)


@pytest.mark.parametrize("n", [0, -1, 2.0, "3", None, True])
def test_wrong_dimension(n):
    for cls in (T, Trivial, Tx, Ty, Galilei):
        with pytest.raises((ValueError, TypeError), match="'n' must be"):
            cls(n)
    with pytest.raises((ValueError, TypeError), match="`n` must be at least 2, got 1"):
        Ty(1)


def test_subclasses_state_their_dimensions():
    class Incomplete(LieGroup):
        dim, orbit_dim, matrix_dim = 1, 0, 2

        def exp(self, a):
            return a

        def log(self, u):
            return u

    with pytest.raises(TypeError, match="`space_dim`"):
        Incomplete()
    with pytest.raises(TypeError, match="abstract"):
        LieGroup()


def everything(group, a, q, pos):
    u = group.exp(a)
    pairs = group.pairs(u[:, None], q[:, None], u, q)
    phi = group.embed(u, q, 0.4)
    adjoint, moved = group.adjoint(u), group.act(u, pos)
    out = [u, pairs, group.distance(pairs), adjoint, moved, group.compose(u, u)]
    return [*out, group.hat(a), group.inverse(u)] + ([] if phi is None else [phi])


def test_autocast_leaves_the_precision(any_group):
    a = algebra(any_group, 4, 2.0, 0.4).float()
    q = torch.rand(4, any_group.orbit_dim, generator=torch.Generator())
    pos = points(any_group, 4).float()
    expected = everything(any_group, a, q, pos)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = everything(any_group, a, q, pos)
    for x, y in zip(actual, expected, strict=True):
        assert x.dtype == torch.float32
        assert torch.equal(x, y)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(group, half):
    pos = points(group, 4).to(half)
    u, q = group.section(pos)
    assert u.dtype == torch.float32
    assert group.exp(torch.zeros(4, group.dim, dtype=half)).dtype == torch.float32
    assert group.distance(group.pairs(u, q, u, q)).dtype == torch.float32


def test_inference_mode(any_group):
    copied = copy.deepcopy(any_group)
    with torch.inference_mode():
        u = copied.exp(algebra(copied, 3, 1.0, 0.3))
        assert_close(copied.exp(copied.log(u)), u)
        copied.adjoint(u)
    zero = torch.zeros(copied.dim, dtype=torch.float64, requires_grad=True)
    copied.hat(zero).sum().backward()


def check_compiled(group, backend):
    def function(u_i, q_i, v_j, q_j):
        pairs = group.pairs(u_i, q_i, v_j, q_j)
        return pairs, group.distance(pairs)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=backend)
    for num in (5, 7):
        u, v = (group.exp(algebra(group, num, 2.0, seed=k)) for k in (1, 2))
        q_i, q_j = torch.rand(2, num, group.orbit_dim, dtype=torch.float64)
        u.requires_grad_()
        expected = function(u, q_i, v, q_j)
        actual = compiled(u, q_i, v, q_j)
        assert_close(actual, expected)
        if group.dim > 0:
            gradients = [torch.autograd.grad(d.sum(), u) for _, d in (actual, expected)]
            assert_close(*gradients)


@pytest.mark.filterwarnings("ignore")
def test_compile_in_one_graph(group):
    check_compiled(group, "eager")


@pytest.mark.filterwarnings("ignore")
def test_compile_with_derivatives():
    check_compiled(SE2(), "aot_eager")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "group", [SE3(), SO3(), SE2(), SIM2(), RxSO2(), Galilei(2)], ids=repr
)
def test_func_transforms(group):
    a, b = (algebra(group, 3, 1.0 * k, seed=k) for k in (1, 2))

    def function(a, b):
        return group.relative_log(group.exp(a), group.exp(b))

    mapped = torch.func.vmap(torch.func.jacrev(function))(a, b)
    forward = torch.func.vmap(torch.func.jacfwd(function))(a, b)
    for k in range(3):
        expected = torch.autograd.functional.jacobian(function, (a[k], b[k]))[0]
        assert_close(mapped[k], expected)
        assert_close(forward[k], expected)
