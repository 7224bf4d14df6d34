import math
import warnings

import pytest
import torch

from lieconv_pyg.groups import SE2, SE3, SO3, T
from lieconv_pyg.lifting import lift, lift_frames
from lieconv_pyg.neighbors import (
    PolynomialEnvelope,
    available_backends,
    calibrate_radius,
    pair_coordinates,
    radius_graph,
)
from lieconv_pyg.neighbors import radius as radius_module
from tests.clouds import (
    DTYPES,
    GROUPS,
    NoBound,
    all_distances,
    cloud,
    generator,
    lifted_cloud,
    lifts,
    moved,
    ragged_batch,
)

BACKENDS = available_backends()  # those that are missing: test_search.py skips


def brute_force(group, radius, src, dst=None):
    distance, same = all_distances(group, src, dst)
    target, source = ((distance < radius) & same).nonzero().unbind(dim=1)
    return torch.stack([source, target])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_edges_equal_brute_force(group, dtype, backend):
    lifted = lifted_cloud(group, dtype=dtype)
    for fill in (0.03, 0.3, 0.9):
        radius = calibrate_radius(group, lifted, fill)
        graph = radius_graph(group, lifted, radius, backend=backend)
        expected = brute_force(group, float(radius), lifted)
        assert graph.edge_index.tolist() == expected.tolist()

        attr = pair_coordinates(group, lifted, lifted, graph.edge_index)
        torch.testing.assert_close(graph.edge_attr, attr)
        torch.testing.assert_close(graph.distance, group.distance(attr))
        assert graph.edge_weight is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_pair_at_the_radius_is_decided_by_its_distance(group, dtype, backend):
    # Radii just below and above a distance of the data: by a few units of rounding,
    # since vectorized functions may differ by one.
    lifted = lifted_cloud(group, sizes=(31, 2), dtype=dtype, seed=3)
    distance, same = all_distances(group, lifted)
    distance, eps = distance.double(), torch.finfo(dtype).eps
    values = distance[same & (distance > 0)].unique()
    tested = 0
    for value in values[:: values.numel() // 6].tolist():
        for radius in (value * (1 - 8 * eps), value * (1 + 8 * eps)):
            if (distance - radius).abs().min() < 4 * eps * value:
                continue
            tested += 1
            graph = radius_graph(group, lifted, radius, backend=backend)
            expected = ((distance < radius) & same).nonzero()
            assert graph.edge_index.flip(0).t().tolist() == expected.tolist()
    assert tested > 4


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shift", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("group", [T(3), SE3(), SE2()], ids=str)
def test_single_precision_far_from_the_origin(group, shift, backend):
    pos = cloud(group, 60, dtype=torch.float32) + shift
    lifted = lift(group, pos, None, lifts(group), generator=generator())
    graph = radius_graph(group, lifted, 0.8, backend=backend)
    expected = brute_force(group, 0.8, lifted)
    assert graph.edge_index.tolist() == expected.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_bipartite(group, backend):
    src = lifted_cloud(group)
    keep = torch.randperm(src.num_points, generator=generator())[::3].sort().values
    dst = src.select(keep)
    radius = float(calibrate_radius(group, src, 0.3))
    graph = radius_graph(group, src, radius, dst, backend=backend)
    expected = brute_force(group, radius, src, dst)
    assert graph.edge_index.tolist() == expected.tolist()
    whole = radius_graph(group, src, radius, backend=backend).edge_index
    same = whole[:, torch.isin(whole[1], keep)]
    assert torch.equal(graph.edge_index[0], same[0])
    assert torch.equal(keep[graph.edge_index[1]], same[1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("group", [SE2(), SO3(), SE3()], ids=str)
def test_frames_do_not_mix(group, backend):
    lifted = lift_frames(group, cloud(group, 30), ragged_batch(12, 1, 17))
    for radius in (0.7, math.inf):
        graph = radius_graph(group, lifted, radius, backend=backend)
        expected = brute_force(group, radius, lifted)
        assert graph.edge_index.tolist() == expected.tolist()
        source, target = lifted.component[graph.edge_index]
        assert torch.equal(source, target)


@pytest.mark.parametrize("group", [T(2), SE3(), NoBound(2)], ids=str)
def test_infinite_radius_joins_each_example(group):
    lifted = lifted_cloud(group, sizes=(31, 1, 2))
    k = lifts(group)
    graph = radius_graph(group, lifted, math.inf)
    assert graph.edge_index.size(1) == k * k * (31**2 + 1 + 2**2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_components_are_binned_and_not_truncated(backend, monkeypatch):
    # 2,200 points of which 300 coincide: more neighbors than any default limit.
    group, pos = T(3), cloud(T(3), 2200)
    pos[:300] = pos[0]
    batch = ragged_batch(2100, 0, 100)
    lifted = lift(group, pos, batch)
    monkeypatch.setattr("lieconv_pyg.neighbors.cells.DENSE_PAIRS", 1000)
    graph = radius_graph(group, lifted, 0.06, backend=backend)
    offset = torch.cdist(pos, pos, compute_mode="donot_use_mm_for_euclid_dist")
    near = (0.2 * offset < 0.06) & (batch[:, None] == batch[None])
    assert torch.equal(graph.edge_index.flip(0), near.nonzero().t())
    assert graph.edge_index[1].bincount().max() >= 300


@pytest.mark.parametrize("group", [T(3), SE3(), NoBound(2)], ids=str)
@pytest.mark.parametrize("radius", [0.5, math.inf])
def test_pairs_are_worked_on_in_chunks(group, radius, monkeypatch):
    sizes = []

    def record(*args):
        sizes.append(args[-1].size(1))
        return pair_coordinates(*args)

    monkeypatch.setattr(radius_module, "pair_coordinates", record)
    lifted = lifted_cloud(group)
    largest = int(lifted.component.bincount().max())
    whole = radius_graph(group, lifted, radius)
    sizes.clear()
    chunked = radius_graph(group, lifted, radius, max_pairs=100)
    assert len(sizes) > 3
    assert max(sizes) <= 100 + largest
    assert torch.equal(whole.edge_index, chunked.edge_index)
    torch.testing.assert_close(whole.edge_attr, chunked.edge_attr)
    torch.testing.assert_close(whole.distance, chunked.distance)


def test_sampled_graph_keeps_little_at_a_time(monkeypatch):
    # Of all pairs, the sample of each chunk is all that is kept.
    group, kept = T(2), []
    lifted = lift(group, cloud(group, 200))
    finish = radius_module.finish

    def record(*args):
        kept.append([part[0].size(1) for part in args[3]])
        return finish(*args)

    monkeypatch.setattr(radius_module, "finish", record)
    graph = radius_graph(group, lifted, math.inf, num_neighbors=4, max_pairs=2000)
    assert graph.edge_index.size(1) == 800
    assert len(kept[0]) > 10
    assert sum(kept[0]) == 800


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_permutation_and_pose(group):
    lifted = lifted_cloud(group, sizes=(31, 5))
    radius = calibrate_radius(group, lifted, 0.3)
    graph = radius_graph(group, lifted, radius)

    order = torch.randperm(lifted.num_points, generator=generator(5))
    order = order[lifted.batch[order].argsort(stable=True)]
    permuted = radius_graph(group, lifted.select(order), radius)
    edges = set(map(tuple, graph.edge_index.t().tolist()))
    assert edges == set(map(tuple, order[permuted.edge_index].t().tolist()))

    other = radius_graph(group, moved(group, lifted), radius)
    assert torch.equal(other.edge_index, graph.edge_index)
    assert torch.allclose(other.edge_attr, graph.edge_attr, atol=1e-9)


def test_batched_equals_single():
    group, pos = SE3(), cloud(SE3(), 30)
    batch = ragged_batch(11, 19)
    lifted = lift(group, pos, batch, 2, fixed=True)
    both = radius_graph(group, lifted, 0.9)
    first = radius_graph(group, lift(group, pos[:11], None, 2, fixed=True), 0.9)
    second = radius_graph(group, lift(group, pos[11:], None, 2, fixed=True), 0.9)
    joined = torch.cat([first.edge_index, second.edge_index + 22], dim=1)
    assert torch.equal(both.edge_index, joined)
    assert torch.allclose(
        both.edge_attr, torch.cat([first.edge_attr, second.edge_attr]), atol=1e-14
    )


def test_num_neighbors():
    group, lifted = T(3), lifted_cloud(T(3))
    full = radius_graph(group, lifted, 0.4)
    graph = radius_graph(
        group, lifted, 0.4, num_neighbors=5, generator=generator(1), max_pairs=50
    )
    counts = full.edge_index[1].bincount()
    assert torch.equal(graph.edge_index[1].bincount(), counts.clamp(max=5))
    edges = set(map(tuple, full.edge_index.t().tolist()))
    assert set(map(tuple, graph.edge_index.t().tolist())) <= edges
    again = radius_graph(
        group, lifted, 0.4, num_neighbors=5, generator=generator(1), max_pairs=50
    )
    assert torch.equal(graph.edge_index, again.edge_index)
    other = radius_graph(group, lifted, 0.4, num_neighbors=5, generator=generator(2))
    assert not torch.equal(graph.edge_index, other.edge_index)


@pytest.mark.parametrize("group", [T(3), SO3(), SE3()], ids=str)
def test_gradients(group):
    pos = cloud(group, 9)
    radius = float(calibrate_radius(group, lift(group, pos), 0.5))

    def function(pos):
        lifted = lift(group, pos, None, 1, fixed=True)
        graph = radius_graph(group, lifted, radius, envelope=PolynomialEnvelope())
        assert graph.edge_index.size(1) < 81
        return graph.edge_attr, graph.distance, graph.edge_weight

    pos.requires_grad_()
    distinct = pair_count = function(pos)[0].size(0)
    assert distinct == pair_count > 9
    gradient = torch.autograd.grad(function(pos)[2].sum(), pos)[0]
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    torch.autograd.gradcheck(lambda x: function(x)[0], (pos,))
    torch.autograd.gradcheck(lambda x: function(x)[2], (pos,), atol=1e-4)


def test_no_graph_without_need():
    lifted = lifted_cloud(T(3))
    graph = radius_graph(T(3), lifted, 0.4)
    assert not graph.edge_attr.requires_grad
    element = lifted.element.clone().requires_grad_()
    with torch.no_grad():
        graph = radius_graph(T(3), lifted._replace(element=element), 0.4)
    assert not graph.edge_attr.requires_grad


def test_envelope_weights():
    group, lifted = T(3), lifted_cloud(T(3))
    envelope = PolynomialEnvelope(4)
    graph = radius_graph(group, lifted, 0.4, envelope=envelope)
    assert torch.equal(graph.edge_weight, envelope(graph.distance / 0.4))
    assert (graph.edge_weight[graph.distance == 0] == 1).all()
    graph = radius_graph(group, lifted, math.inf, envelope=envelope)
    assert (graph.edge_weight == 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_targets_and_isolated_targets(backend):
    group, lifted = SE3(), lifted_cloud(SE3())
    none = lifted.select(torch.tensor([], dtype=torch.long))
    for src, dst in [(lifted, none), (none, lifted)]:
        for radius in (0.5, math.inf):
            graph = radius_graph(group, src, radius, dst, backend=backend)
            assert graph.edge_index.shape == (2, 0)
            assert graph.edge_attr.shape == (0, 6)
            assert graph.distance.shape == (0,)
    elsewhere = lifted._replace(component=lifted.component + 10)
    graph = radius_graph(group, lifted, 0.5, elsewhere, backend=backend)
    assert graph.edge_index.shape == (2, 0)


@pytest.mark.parametrize("radius", [1e-30, 1e30])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_extreme_radii(radius, backend, dtype):
    lifted = lifted_cloud(T(3), dtype=dtype)
    graph = radius_graph(T(3), lifted, radius, backend=backend)
    expected = brute_force(T(3), radius, lifted)
    assert graph.edge_index.tolist() == expected.tolist()


@pytest.mark.parametrize("value", [0, 0.0, -1.0, math.nan, torch.tensor(-2.0)])
def test_radius_must_be_positive(value):
    with pytest.raises(ValueError, match="'radius' must be positive"):
        radius_graph(T(3), lifted_cloud(T(3)), value)


def test_bad_arguments():
    lifted = lifted_cloud(T(3))
    with pytest.raises(ValueError, match="'radius' must be a single number"):
        radius_graph(T(3), lifted, torch.ones(2))
    with pytest.raises(TypeError, match="'radius' must be a number"):
        radius_graph(T(3), lifted, "far")
    with pytest.raises(ValueError, match="'num_neighbors' must be at least 1"):
        radius_graph(T(3), lifted, 1.0, num_neighbors=0)
    with pytest.raises(TypeError, match="'num_neighbors' must be an integer"):
        radius_graph(T(3), lifted, 1.0, num_neighbors=2.5)
    with pytest.raises(ValueError, match=r"'backend' must be one of .*'torch'"):
        radius_graph(T(3), lifted, 1.0, backend="scipy")


def test_autocast_changes_nothing():
    group, lifted = SE3(), lifted_cloud(SE3(), dtype=torch.float32)
    expected = radius_graph(group, lifted, 0.8)
    with torch.autocast("cpu", dtype=torch.bfloat16), warnings.catch_warnings():
        graph = radius_graph(group, lifted, 0.8)
    assert torch.equal(graph.edge_index, expected.edge_index)
    assert graph.edge_attr.dtype == torch.float32
