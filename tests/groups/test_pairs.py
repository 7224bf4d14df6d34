"""Pair coordinates, distances and their Euclidean lower bounds."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from lieconv_pyg.groups import SE2, SE3, SIM2, SO2, Galilei, LieGroup, T
from tests.groups.cases import MATRIX, algebra, points

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def lifted(group: LieGroup, num: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Lifted points, by random lifts if there are many."""
    generator = torch.Generator().manual_seed(seed)
    u, q = group.section(points(group, num, seed=seed))
    s = group.stabilizer_sample(num, generator=generator, dtype=u.dtype)
    return group.compose(u, s), q


def test_parts_and_shape(group):
    u, q = lifted(group, 6)
    pairs = group.pairs(u[:, None], q[:, None], u[None], q[None])
    assert pairs.shape == (6, 6, group.dim + 2 * group.orbit_dim)
    a, q_i, q_j = group.split_pairs(pairs)
    assert_close(a[1, 4], group.log(torch.linalg.inv(u[4]) @ u[1]), **CLOSE)
    assert torch.equal(q_i[1, 4], q[1])
    assert torch.equal(q_j[1, 4], q[4])
    assert group.distance(pairs).shape == (6, 6)


def test_left_invariance(group):
    u, q = lifted(group, 12)
    g = group.sample(generator=torch.Generator().manual_seed(1), dtype=u.dtype)
    moved = group.compose(g, u)
    pairs = group.pairs(u[:, None], q[:, None], u, q)
    moved_pairs = group.pairs(moved[:, None], q[:, None], moved, q)
    assert_close(moved_pairs, pairs, rtol=1e-11, atol=1e-11)
    assert_close(group.distance(moved_pairs), group.distance(pairs), **CLOSE)


def test_pairs_depend_on_the_side(any_group):
    # log(v^-1 u) and not log(u v^-1): moving on the right changes it by the adjoint.
    u, v, g = any_group.exp(algebra(any_group, 3 * 4, 0.5, 0.3)).unflatten(0, (3, 4))
    a = any_group.relative_log(u, v)
    moved = any_group.relative_log(any_group.compose(u, g), any_group.compose(v, g))
    expected = any_group.adjoint(any_group.inverse(g)) @ a.unsqueeze(-1)
    assert_close(moved, expected.squeeze(-1), rtol=1e-11, atol=1e-11)
    assert_close(any_group.relative_log(v, u), -a, rtol=1e-11, atol=1e-11)


def test_distance_is_symmetric_positive_and_zero_on_itself(group):
    u, q = lifted(group, 12)
    distance = group.distance(group.pairs(u[:, None], q[:, None], u, q))
    assert_close(distance, distance.T, **CLOSE)
    apart = ~torch.eye(12, dtype=torch.bool)
    assert distance[apart].min() > 0
    assert distance.diagonal().max() < 1e-15


@pytest.mark.parametrize("group", [SE2(), SE3(), T(3)], ids=repr)
def test_far_from_the_origin_no_precision_is_lost(group, dtype):
    pos = torch.full((2, group.space_dim), 2.0**14, dtype=dtype)
    pos[1] += 0.5
    turn = group.stabilizer_sample(generator=torch.Generator(), dtype=dtype)
    u, q = group.section(pos)
    u = group.compose(u, turn)
    distance = group.distance(group.pairs(u[0], q[0], u[1], q[1]))
    weight = 1 - group.alpha if group.stabilizer_dim else group.alpha
    assert_close(
        float(distance), weight * 0.5 * group.space_dim**0.5, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("radius", [None, 1e-3, 0.1, 0.3, 0.79, 0.8, 5.0, "tensor"])
def test_embedding_is_a_lower_bound(group, radius):
    u, q = lifted(group, 120, seed=3)
    # Some differ by little in one algebra coordinate alone, a rotation for instance.
    for k in range(group.dim):
        small = torch.zeros(group.dim, dtype=u.dtype)
        small[k] = 0.01
        u[k], q[k] = group.compose(u[-1 - k], group.exp(small)), q[-1 - k]
    if radius == "tensor":
        radius = torch.tensor(0.2)
    distance = group.distance(group.pairs(u[:, None], q[:, None], u, q))
    phi = group.embed(u, q, radius)
    assert phi.shape[0] == 120
    bound = (phi[:, None] - phi).norm(dim=-1)
    near = distance <= (torch.inf if radius is None else radius)
    assert bool((bound <= distance * (1 + 1e-12) + 1e-14)[near].all())
    apart = ~torch.eye(120, dtype=torch.bool)
    # It has to be useful too: a small radius leaves a few of the pairs.
    candidates = bound[apart] <= distance[apart].quantile(0.05)
    partial = isinstance(group, SIM2 | Galilei)  # places have no bound in these
    limit = 0.95 if partial else 0.75
    assert candidates.double().mean() < (limit if group.dim + group.orbit_dim else 1)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_embedding_of_the_relative_radius(alpha, scale):
    group = SO2(alpha=alpha)
    generator = torch.Generator().manual_seed(0)
    pos = scale * torch.randn(300, 2, generator=generator, dtype=torch.float64)
    pos[:3] = 0.0
    u, q = group.section(pos)
    distance = group.distance(group.pairs(u[:, None], q[:, None], u, q))
    for radius in (1e-6, 0.05, 0.3, 0.999, 2.0):
        phi = group.embed(u, q, radius)
        bound = (phi[:, None] - phi).norm(dim=-1)
        near = distance <= radius
        assert bool((bound <= distance + 1e-13)[near].all())


def test_numeric_groups_have_no_embedding(any_group):
    if any_group in MATRIX.values():
        u = any_group.identity(2)
        assert any_group.embed(u, u[:, :0, 0]) is None


def test_reference_distance_of_general_groups(group):
    a, q_i, q_j = (algebra(group, 5, 1.0), *torch.rand(2, 5, group.orbit_dim).double())
    own = {"SO2", "RxSO2", "RxSQ", "SE2", "SIM2", "SE3", "T", "Galilei", "Trivial"}
    own.add("Lorentz")
    if type(group).__name__ not in own:
        expected = group.alpha * a.norm(dim=-1) + (1 - group.alpha) * (q_i - q_j).norm(
            dim=-1
        )
        pairs = torch.cat([a, q_i, q_j], dim=-1)
        assert_close(group.distance(pairs), expected, **CLOSE)


def test_wrong_pairs(group):
    size = group.dim + 2 * group.orbit_dim
    with pytest.raises(ValueError, match=f"`pairs` must have {size} entries"):
        group.distance(torch.zeros(4, size + 1))


def test_indexed_pairs(group):
    """Of points given by their numbers: the same, by shortcuts of some groups."""
    u, q = lifted(group, 12)
    i, j = torch.randint(0, len(u), (2, 40))
    found = group.indexed_pairs(u, q, i, u, q, j)
    assert_close(found, group.pairs(u[i], q[i], u[j], q[j]), rtol=1e-9, atol=1e-9)
    if isinstance(group, SE2 | SE3 | T):  # with gradients of the distance, all 0
        assert not group.indexed_pairs(u, q, i, u, q, i).any()


def test_a_subclass_is_not_taken_past_its_own_methods():
    class Doubled(SE3):
        def relative_log(self, u, v):
            return 2 * super().relative_log(u, v)

    class Scaled(SE3):
        def __init__(self):
            super().__init__(alpha=0.5)

    class Mixin:
        def relative_log(self, u, v):
            return 2 * super().relative_log(u, v)

    class Mixed(Mixin, SE3):
        pass

    u = SE3().sample(5, dtype=torch.double)
    q, i = u.new_zeros(5, 0), torch.arange(5)
    found = Mixed().indexed_pairs(u, q, i, u, q, i.flip(0))
    assert_close(found, 2 * SE3().relative_log(u, u.flip(0)))
    found = Doubled().indexed_pairs(u, q, i, u, q, i.flip(0))
    assert_close(found, 2 * SE3().relative_log(u, u.flip(0)))
    assert Scaled.indexed_pairs is SE3.indexed_pairs
