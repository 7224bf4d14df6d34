import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lieconv_pyg.groups import T
from lieconv_pyg.lifting import lift
from lieconv_pyg.neighbors import (
    available_backends,
    farthest_points,
    knn_graph,
    radius_graph,
)
from tests.clouds import all_distances, ragged_batch

# Whole numbers: many points coincide, and many distances are equal.
COORDINATE = st.integers(-3, 3)
POINT = st.tuples(COORDINATE, COORDINATE)
CLOUDS = st.lists(st.lists(POINT, max_size=12), min_size=1, max_size=4).filter(any)


def lifted_points(clouds, dtype):
    pos = torch.tensor([p for cloud in clouds for p in cloud], dtype=dtype)
    return lift(T(2), pos, ragged_batch(*map(len, clouds)))


@settings(max_examples=60, deadline=None)
@given(
    CLOUDS,
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([0.1, 0.21, 0.45, 0.7, 5.0]),
    st.sampled_from(available_backends()),
)
def test_radius_graph_equals_brute_force(clouds, dtype, radius, backend):
    lifted = lifted_points(clouds, dtype)
    distance, same = all_distances(T(2), lifted)
    expected = ((distance < radius) & same).nonzero().flip(1)
    graph = radius_graph(T(2), lifted, radius, backend=backend, max_pairs=30)
    assert graph.edge_index.t().tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(CLOUDS, st.integers(1, 14), st.sampled_from(available_backends()))
def test_knn_graph_holds_the_nearest(clouds, k, backend):
    lifted = lifted_points(clouds, torch.float64)
    distance, same = all_distances(T(2), lifted)
    distance = torch.where(same, distance, torch.inf).sort(dim=1).values
    graph = knn_graph(T(2), lifted, k, backend=backend)
    counts = graph.edge_index[1].bincount().tolist()
    for row, size, count in zip(distance, same.sum(dim=1), counts, strict=True):
        last = row[min(k, int(size)) - 1]
        assert count == int((row <= last * (1 + 1e-12)).sum())


@settings(max_examples=60, deadline=None)
@given(CLOUDS, st.floats(0.01, 1.0), st.randoms(use_true_random=False))
def test_farthest_points_take_places_whatever_the_order(clouds, ratio, random):
    index = farthest_points(T(2), lifted_points(clouds, torch.float64), ratio)
    lifted = lifted_points(clouds, torch.float64)
    kept = sorted(lifted.element[index][:, :2, 2].tolist())
    shuffled = [random.sample(cloud, len(cloud)) for cloud in clouds]
    lifted = lifted_points(shuffled, torch.float64)
    index = farthest_points(T(2), lifted, ratio)
    assert sorted(lifted.element[index][:, :2, 2].tolist()) == kept
