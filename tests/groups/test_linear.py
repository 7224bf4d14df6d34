"""Groups of which a basis is all that is known."""

import copy

import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.groups import (
    SO2,
    SO3,
    SQ,
    LinearLieGroup,
    Lorentz,
    MatrixLieGroup,
    RxSO2,
    RxSQ,
)
from lieconv_pyg.lifting import lift
from lieconv_pyg.neighbors import radius_graph
from lieconv_pyg.nn import LieConv, LieResNet
from tests.groups.cases import LORENTZ, SO21, matrices

SO4 = matrices(
    *(((i, j, 1.0), (j, i, -1.0)) for i in range(4) for j in range(i)), size=4
)
ETA = torch.diag(torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64))
ABOUT_Z = matrices(((0, 1, -1.0), (1, 0, 1.0)), size=3)
TURN = SO21[0].T.contiguous()
COPIES = torch.block_diag(*[SO21[0].T] * 4).unsqueeze(0)


def mixed(size, seed=0):
    """Other coordinates."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(size, size, generator=random, dtype=torch.float64)
    return torch.eye(size, dtype=torch.float64) + 0.3 * noise


def conjugate(basis, seed=0):
    R = mixed(basis.size(1), seed)
    return torch.linalg.inv(R) @ basis @ R


#: Name, generators, dimensions of labels and stabilizer.
FOUND = {
    "so(2)": (SO21, 1, 0),
    "so(3)": (SO3().generators(torch.float64), 1, 1),
    "so(4)": (SO4, 1, 3),
    "so(2) elsewhere": (conjugate(SO21), 1, 0),
    "so(3) elsewhere": (conjugate(SO3().generators(torch.float64)), 1, 1),
    "so(4) elsewhere": (conjugate(SO4), 1, 3),
    "about an axis": (ABOUT_Z, 2, 0),
    "about another axis": (conjugate(ABOUT_Z), 2, 0),
    "four copies": (COPIES, 7, 0),
    "speeds": (torch.block_diag(2 * TURN, TURN, -3 * TURN).unsqueeze(0), 5, 0),
    "speeds and scale": (
        torch.stack([torch.block_diag(2 * TURN, TURN), torch.eye(4).double()]),
        *(2, 0),
    ),
    "log-polar": (RxSO2().generators(torch.float64), 0, 0),
    "diagonal": (RxSQ().generators(torch.float64), 0, 0),
    "squeezes": (SQ().generators(torch.float64), 1, 0),
    "so(1,3)": (LORENTZ, 1, 3),
    "so(1,3) elsewhere": (conjugate(LORENTZ), 1, 3),
}


def points(name, num=60, seed=0):
    random = torch.Generator().manual_seed(seed)
    basis = FOUND[name][0]
    x = torch.randn(num, basis.size(1), generator=random, dtype=torch.float64)
    if name in ("diagonal", "squeezes"):
        return x.exp()
    if name.startswith("so(1,3)"):
        mass = torch.rand(num, generator=random, dtype=torch.float64) + 0.1
        x[:, 0] = (mass.square() + x[:, 1:].square().sum(1)).sqrt()
        if name.endswith("elsewhere"):
            x = x @ torch.linalg.inv(mixed(4)).T
    return x


@pytest.fixture(params=list(FOUND), scope="module")
def case(request):
    basis, labels, stabilizer = FOUND[request.param]
    group = MatrixLieGroup.from_basis(basis)
    assert (group.orbit_dim, group.stabilizer_dim) == (labels, stabilizer)
    return group, points(request.param)


def test_lifts(case):
    group, x = case
    group.check_points(x)
    u, q = group.section(x)
    assert_close(group.act(u, group.origin(q)), x, rtol=1e-9, atol=1e-9)
    random = torch.Generator().manual_seed(0)
    s = group.stabilizer_sample(len(x), generator=random, dtype=torch.float64)
    o = group.origin(q)
    assert_close(group.act(s, o), o, rtol=1e-9, atol=1e-9)
    assert_close(
        group.act(group.stabilizer_grid(7, torch.float64), o[0]), o[:1] + 0 * o[:7]
    )
    # Labels are the same everywhere in an orbit; unique lifts move with the points.
    g = group.sample(len(x), generator=random, scale=0.5, dtype=torch.float64)
    moved, labels = group.section(group.act(g, x))
    assert_close(labels, q, rtol=1e-8, atol=1e-8)
    if group.stabilizer_dim == 0:
        assert_close(moved, group.compose(g, u), rtol=1e-8, atol=1e-8)
    # Masses are small differences of large numbers.
    tol = 1e-3 if group.orbits.time_root is not None else 1e-5
    assert_close(group.section(x.float())[1], q.float(), rtol=tol, atol=tol)


def test_derivatives_of_lifts(case):
    group, x = case
    x = x[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(group.section, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(group.section, x, fast_mode=True)


def test_distances_are_bounded(case):
    group, x = case
    random = torch.Generator().manual_seed(1)
    draws = group.stabilizer_sample(len(x), generator=random, dtype=torch.float64)
    u, q = group.section(x)
    u = group.compose(u, draws)
    found = group.embed(u, q, 2.0)
    if found is None:
        return
    d = group.distance(group.pairs(u[:, None], q[:, None], u[None], q[None]))
    bound = (found[:, None] - found[None]).norm(dim=2)
    assert bool((bound <= d + 1e-9)[d <= 2.0].all())
    assert float(bound.max()) > 0.1


@pytest.mark.parametrize("name", ["so(3)", "so(4)", "so(4) elsewhere", "so(1,3)"])
def test_stabilizers_are_uniform(name):
    group = LinearLieGroup(FOUND[name][0])
    random = torch.Generator().manual_seed(0)
    s = group.stabilizer_sample(6000, generator=random, dtype=torch.float64)
    # In coordinates in which they turn the last ones: first and second moments.
    root = torch.eye(len(s[0])).double() if name == "so(1,3)" else group.orbits.root
    s = (root @ s @ torch.linalg.inv(root))[:, 1:, 1:]
    assert_close(s.mean(0), torch.zeros_like(s[0]), rtol=0, atol=0.05)
    n = s.size(1)
    pairs = torch.einsum("nij,nkl->ijkl", s, s) / len(s)
    eye = torch.eye(n, dtype=s.dtype)
    wanted = torch.einsum("ik,jl->ijkl", eye, eye) / n
    if n == 2:  # where the determinant has a mean too
        turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=s.dtype)
        wanted = wanted + torch.einsum("ik,jl->ijkl", turn, turn) / n
    assert_close(pairs, wanted, rtol=0, atol=0.05)


@pytest.mark.parametrize("closed", [SO2(), SO3()], ids=["SO2", "SO3"])
def test_exact_bases_give_the_groups(closed):
    """As a group, in the graph and in the layer."""
    group = MatrixLieGroup.from_basis(closed.generators(torch.float64))
    random = torch.Generator().manual_seed(0)
    x = torch.randn(50, closed.space_dim, generator=random, dtype=torch.float64)
    x[0] = 0
    x[1] = -torch.eye(closed.space_dim)[0]
    batch = torch.arange(2).repeat_interleave(25)
    lifts = []
    for g in (closed, group):
        random.manual_seed(1)
        lifts.append(lift(g, x, batch, 2, generator=random))
    assert_close(lifts[1].element, lifts[0].element, rtol=0, atol=1e-5)
    assert_close(lifts[1].orbit, lifts[0].orbit, rtol=0, atol=1e-5)
    edges = [
        radius_graph(g, found, 0.4)
        for g, found in zip((closed, group), lifts, strict=True)
    ]
    assert torch.equal(edges[0].edge_index, edges[1].edge_index)
    assert edges[0].edge_index.size(1) > 300
    torch.manual_seed(0)
    settings = dict(hidden_channels=8, num_layers=2, fill=0.5)
    settings["num_lifts"] = 1 + closed.stabilizer_dim
    net, other = (LieResNet(2, 3, g, **settings).double() for g in (closed, group))
    for one in (net, other):
        one.calibrate(x, batch)
        one.eval()
    other.load_state_dict(net.state_dict())
    features = torch.randn(50, 2, generator=random, dtype=torch.float64)
    out = net(features, x, batch)
    assert out.std() > 1e-3
    assert_close(other(features, x, batch), out, rtol=0, atol=1e-5)


def test_exact_lorentz_basis():
    group, closed = MatrixLieGroup.from_basis(LORENTZ), Lorentz()
    p = points("so(1,3)")
    a = torch.randn(60, 6, dtype=torch.float64)
    u = closed.exp(a)
    assert_close(group.exp(a), closed.lorentz_matrix(u), rtol=1e-9, atol=1e-9)
    assert_close(group.log(closed.lorentz_matrix(u)), closed.log(u))
    assert_close(group.section(p)[0], closed.lorentz_matrix(closed.section(p)[0]))
    assert_close(group.section(p)[1], closed.section(p)[1].exp())


def test_layer_is_equivariant(case):
    group, x = case
    random = torch.Generator().manual_seed(2)
    lifted = lift(group, x[:20], generator=random)
    g = group.sample(generator=random, scale=0.3, dtype=torch.float64)
    edge_index = torch.randint(20, (2, 100), generator=random)
    torch.manual_seed(0)
    conv = LieConv(3, 4, group).double().eval()
    f = torch.randn(20, 3, generator=random, dtype=torch.float64)
    out = conv(f, lifted, edge_index)
    moved = lifted._replace(element=group.compose(g, lifted.element))
    assert_close(conv(f, moved, edge_index), out, rtol=1e-8, atol=1e-8)


def test_logarithms(case):
    group, _ = case
    a = 0.7 * torch.randn(30, group.dim, dtype=torch.float64)
    u = group.exp(a)
    assert_close(group.log(u), a, rtol=1e-9, atol=1e-9)
    residual = group.log_with_residual(u)[1]
    assert residual.max() < 1e-9
    wrong = u.clone()
    wrong[3] = wrong[3] @ mixed(group.matrix_dim, 5)
    if group.dim < group.matrix_dim**2:
        with pytest.raises(ValueError, match=r"1 element.*no logarithm was found"):
            group.log(wrong)


def test_discovered_metric():
    R = mixed(3, 4)
    basis = torch.linalg.inv(R) @ SO3().generators(torch.float64) @ R
    group = LinearLieGroup(basis, metric=R.T @ R)
    x = torch.randn(10, 3, dtype=torch.float64)
    u, q = group.section(x)
    radius = (x @ R.T).norm(dim=1)
    assert_close(q.squeeze(1) / q[0], (radius / radius[0]))
    assert_close(u.mT @ R.T @ R @ u, (R.T @ R).expand(10, 3, 3))


def test_points_without_lifts():
    group = LinearLieGroup(LORENTZ)
    p = torch.tensor([[2.0, 1, 0, 0], [1, 1, 0, 0], [-2, 1, 0, 0], [0.5, 1, 0, 0]])
    with pytest.raises(
        ValueError, match=r"3 point\(s\) not in the orbits of multiples"
    ):
        group.check_points(p)
    with pytest.raises(ValueError, match=r"1 point\(s\) at the fixed point"):
        LinearLieGroup(RxSO2().generators()).check_points(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="were not reached"):
        LinearLieGroup(RxSQ().generators()).section(torch.tensor([[-1.0, 1.0]]))


def test_not_compact():
    boosts = ETA @ SO4
    with pytest.raises(ValueError, match=r"not compact.*InvariantMetricConv"):
        LinearLieGroup(boosts)
    group = LinearLieGroup(boosts, stabilizer_scale=0.2)
    assert not group.has_compact_stabilizer
    s = group.stabilizer_sample(500, dtype=torch.float64)
    e = group.orbits.reference
    assert_close(s @ e, e.expand(500, 4))
    a = group.log(s) @ torch.linalg.pinv(group.orbits.stabilizer)
    assert 0.1 < a.std() < 0.2 and a.abs().max() <= 0.4 + 1e-9


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        (torch.zeros(1, 2, 3), r"`basis` must have shape \(dim, m, m\)"),
        (torch.zeros(1, 2, 2), "zero generator, number 0"),
        (torch.cat([SO21, 2 * SO21]), "linearly dependent"),
        (LORENTZ[:2], "not closed under the bracket"),
        (torch.eye(4).view(4, 2, 2), "all matrices of size 2"),
        (SO21 + 0.1 * torch.eye(2), "no form is invariant.*clean_basis"),
        (matrices(((0, 1, 1.0),), size=2), "along vectors that it keeps"),
        (torch.full((1, 2, 2), torch.nan), "infinite or NaN"),
        # Turns by the angle 2 pi, or pi: a lift has no way back.
        (
            torch.block_diag(TURN, 2**0.5 * TURN).unsqueeze(0),
            "whole turns of the first coordinates move others",
        ),
        (
            torch.block_diag(2 * TURN, 3 * TURN).unsqueeze(0),
            "whole turns of the first coordinates move others",
        ),
        (conjugate(COPIES) * 1.0, "orbits have 1 of 8 dimensions.*shared_block"),
        (torch.stack([LORENTZ[3] * 1e6, LORENTZ[4] * 1e-6]), "not closed"),
        (torch.stack([SO4[0], SO4[0] + 1e-9 * SO4[1]]), "linearly dependent"),
        (
            torch.stack(
                [
                    torch.block_diag(SO21[0], 0 * SO21[0]),
                    torch.block_diag(0 * SO21[0], SO21[0]),
                ]
            ),
            "what keeps the first coordinates moves others",
        ),
    ],
    ids=range(14),
)
def test_bad_bases(basis, message):
    with pytest.raises(ValueError, match=message):
        MatrixLieGroup.from_basis(basis)


def test_other_arguments():
    with pytest.raises(TypeError, match="floating-point"):
        LinearLieGroup(torch.ones(1, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"`metric` must have shape \(2, 2\)"):
        LinearLieGroup(SO21, metric=torch.eye(3))
    with pytest.raises(ValueError, match="`metric` is not invariant"):
        LinearLieGroup(SO21, metric=torch.tensor([[1.0, 0], [0, 2]]))
    with pytest.raises(ValueError, match="`metric` has infinite or NaN"):
        LinearLieGroup(SO21, metric=torch.full((2, 2), torch.nan))
    with pytest.raises(TypeError, match="`metric` must be a floating-point tensor"):
        LinearLieGroup(SO21, metric=[[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="`stabilizer_scale` must be positive"):
        LinearLieGroup(SO21, stabilizer_scale=0.0)
    group = LinearLieGroup(SO21.tolist(), alpha=0.5)
    assert group == LinearLieGroup(SO21, alpha=0.5) != LinearLieGroup(SO21)
    assert copy.deepcopy(group) == group and hash(copy.deepcopy(group)) == hash(group)
    assert repr(group) == (
        "LinearLieGroup(dim=1, matrix_dim=2, space_dim=2, alpha=0.5)"
    )


def test_lengths_of_generators_do_not_matter():
    lengths = torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)
    basis = conjugate(SO3().generators(torch.float64))
    basis = torch.stack([torch.block_diag(L, torch.zeros(1, 1)) for L in basis])
    group = LinearLieGroup(lengths[:, None, None] * basis)
    assert not group.commutative and group.stabilizer_dim == 1
    random = torch.Generator().manual_seed(0)
    a = torch.rand(50, 3, generator=random, dtype=torch.float64) / lengths
    moved = group.log(group.exp(a)) * lengths
    assert_close(moved, a * lengths, rtol=1e-9, atol=1e-9)
    pos = torch.randn(50, 4, generator=random, dtype=torch.float64)
    u, q = group.section(pos)
    assert_close(group.act(u, group.origin(q)), pos)


def test_unitary_groups():
    """Their geodesics come back before they have been everywhere."""
    i = torch.block_diag(TURN, TURN)
    real = torch.stack(
        [
            torch.kron(torch.tensor([[0.0, -1], [1, 0]]).double(), torch.eye(2)),
            torch.kron(torch.tensor([[0.0, 1], [1, 0]]).double(), TURN),
            torch.kron(torch.tensor([[1.0, 0], [0, -1]]).double(), TURN),
            i,
        ]
    )
    group = LinearLieGroup(real)
    assert (group.dim, group.stabilizer_dim, group.orbit_dim) == (4, 1, 1)
    random = torch.Generator().manual_seed(0)
    pos = torch.randn(300, 4, generator=random, dtype=torch.float64, requires_grad=True)
    u, q = group.section(pos)
    assert_close(group.act(u, group.origin(q)), pos)
    assert_close(group.exp(group.log(u)), u, rtol=0, atol=1e-10)
    (slope,) = torch.autograd.grad(group.act(u, group.origin(q)).sum(), pos)
    assert_close(slope, torch.ones_like(slope))


def test_simply_transitive_on_the_sphere():
    """SU(2) on the 3-sphere: lifts are unique, to the far side too."""
    i = torch.block_diag(TURN, TURN) / 2
    j = torch.kron(TURN, torch.tensor([[1.0, 0], [0, -1]]).double()) / 2
    group = LinearLieGroup(torch.stack([i, j, 2 * i @ j]))
    assert (group.dim, group.stabilizer_dim, group.orbit_dim) == (3, 0, 1)
    random = torch.Generator().manual_seed(0)
    pos = torch.randn(50, 4, generator=random, dtype=torch.float64)
    pos = torch.cat([pos, -pos, torch.eye(4), -torch.eye(4)])
    g = group.sample(108, generator=random, dtype=torch.float64)
    (u, q), (v, r) = group.section(pos), group.section(group.act(g, pos))
    assert_close(v, g @ u, rtol=0, atol=1e-10)
    assert_close(q, r)
    assert_close(group.exp(group.relative_log(u, v)), group.relative(u, v))
