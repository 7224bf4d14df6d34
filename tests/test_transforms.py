import copy
import math
import pickle

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData, InMemoryDataset
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import Compose, NormalizeScale, RandomJitter

from lieconv_pyg.groups import SE2, SE3, SO2, SO3, T
from lieconv_pyg.lifting import lift, lift_frames
from lieconv_pyg.neighbors import PolynomialEnvelope, knn_graph, radius_graph
from lieconv_pyg.transforms import (
    GroupGraph,
    LiftedData,
    LiftPoints,
    lifted,
    neighborhood,
)
from tests.clouds import cloud

SIZES = (5, 1, 7)


def examples(group, sizes=SIZES):
    return [
        Data(
            pos=cloud(group, n, seed),
            x=torch.randn(n, 2),
            y=torch.tensor([seed]),
            edge_index=torch.tensor([[0], [n - 1]]),
        )
        for seed, n in enumerate(sizes)
    ]


def equal(first, second):
    for a, b in zip(first, second, strict=True):
        if a is None or b is None:
            assert a is b
        elif a.is_floating_point():
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        else:
            assert torch.equal(a, b)


def pipeline(group, how="haar", **kwargs):
    lifts = {"lift": how} if how == "frames" else {"num_lifts": 2, "fixed": True}
    return Compose([LiftPoints(group, **lifts), GroupGraph(group, 0.9, **kwargs)])


@pytest.mark.parametrize("how", ["haar", "frames"])
@pytest.mark.parametrize("group", [SE3(), SE2(), SO3(), SO2(), T(3)], ids=str)
def test_batching_lifted_examples_is_lifting_the_batch(group, how):
    data = examples(group)
    batch = Batch.from_data_list([pipeline(group, how)(d) for d in data])
    plain = Batch.from_data_list(data)
    if how == "frames":
        points = lift_frames(group, plain.pos, plain.batch)
    else:
        points = lift(group, plain.pos, plain.batch, 2, fixed=True)
    graph = radius_graph(group, points, 0.9)
    equal(batch.lifted, points)
    equal(batch.neighborhood, graph)
    assert batch.num_nodes == sum(SIZES)
    assert batch.num_graphs == len(SIZES)
    assert torch.equal(batch.edge_index, plain.edge_index)

    # And the way back.
    for number, example in enumerate(batch.to_data_list()):
        single = pipeline(group, how)(data[number])
        assert isinstance(example, LiftedData)
        equal(example.lifted, single.lifted)
        equal(example.neighborhood, single.neighborhood)


def test_one_example():
    group, data = SE3(), examples(SE3())[0]
    out = LiftPoints(group, 3, fixed=True)(data)
    assert isinstance(out, LiftedData)
    assert type(data) is Data
    assert "lift_element" not in data
    assert out.num_nodes == 5
    assert out.num_edges == 1
    assert out.lifted.num_points == 15
    equal(out.lifted, lift(group, data.pos, None, 3, fixed=True))
    assert torch.equal(out.x, data.x)
    assert torch.equal(out.y, data.y)

    graph = GroupGraph(group, 0.8)(out)
    assert "lift_edge_index" not in out
    assert "lift_edge_weight" not in graph
    equal(graph.neighborhood, radius_graph(group, out.lifted, 0.8))


def test_lifted_points_are_no_nodes():
    # As many lifted points as points: PyG cannot tell by the size.
    data = pipeline(T(3))(examples(T(3))[0])
    data = LiftPoints(T(3))(data)
    assert data.lift_element.size(0) == data.num_nodes
    assert data.is_node_attr("x")
    assert not data.is_node_attr("lift_element")
    assert not data.is_edge_attr("lift_edge_attr")


def test_a_batch_is_lifted_as_a_whole():
    group, data = SE3(), examples(SE3())
    batch = Batch.from_data_list(data)
    out = pipeline(group)(batch)
    expected = Batch.from_data_list([pipeline(group)(d) for d in data])
    equal(lifted(out), expected.lifted)
    equal(neighborhood(out), expected.neighborhood)
    assert out.num_nodes == sum(SIZES)


class Clouds(InMemoryDataset):
    def __init__(self, root, data_list, transform=None, pre_transform=None):
        self.data_list = data_list
        super().__init__(root, transform, pre_transform)
        self.load(self.processed_paths[0], data_cls=LiftedData)

    @property
    def processed_file_names(self):
        return ["clouds.pt"]

    def process(self):
        self.save(
            [self.pre_transform(data) for data in self.data_list],
            self.processed_paths[0],
        )


def test_pre_transform_of_a_dataset(tmp_path):
    group, data = SE3(), examples(SE3())
    dataset = Clouds(str(tmp_path), data, pre_transform=pipeline(group))
    for example, single in zip(dataset, data, strict=True):
        expected = pipeline(group)(single)
        equal(example.lifted, expected.lifted)
        equal(example.neighborhood, expected.neighborhood)
        assert example.num_nodes == single.num_nodes


@pytest.mark.parametrize("workers", [0, 2])
def test_loader(workers):
    group = SE3()
    data = [pipeline(group, envelope=PolynomialEnvelope())(d) for d in examples(group)]
    loader = DataLoader(data, batch_size=2, num_workers=workers)
    batches = list(loader)
    assert [batch.num_nodes for batch in batches] == [6, 7]
    for batch, part in zip(batches, (data[:2], data[2:]), strict=True):
        expected = Batch.from_data_list(part)
        equal(batch.lifted, expected.lifted)
        equal(batch.neighborhood, expected.neighborhood)
        assert batch.lift_edge_weight is not None


def test_composes_with_other_transforms():
    group, data = SE3(), examples(SE3())[0]
    transform = Compose(
        [NormalizeScale(), RandomJitter(0.01), *pipeline(group).transforms]
    )
    out = transform(data)
    reached = group.act(out.lift_element, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(reached, out.pos[out.lift_point])


def test_frames_for_vectors():
    line = Data(pos=torch.arange(9.0, dtype=torch.float64).view(3, 3))
    for vectors, frames in [(False, 2), (True, 4)]:
        out = LiftPoints(SE3(), lift="frames", vectors=vectors)(line).lifted
        equal(out, lift_frames(SE3(), line.pos, vectors=vectors))
        assert len(out.component.unique()) == frames


def test_clone_move_pickle():
    data = pipeline(SE3(), "frames")(examples(SE3())[2])
    for other in (data.clone(), copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert isinstance(other, LiftedData)
        equal(other.lifted, data.lifted)
        equal(other.neighborhood, data.neighborhood)
    assert data.clone().to("meta").lift_component.device.type == "meta"
    batch = Batch.from_data_list([data, data])
    equal(pickle.loads(pickle.dumps(batch)).lifted, batch.lifted)


def test_random_lifts_and_neighbors():
    group, data = SE3(), examples(SE3())[2]
    free = LiftPoints(group, 2)
    assert not torch.equal(free(data).lift_element, free(data).lift_element)
    seeded = LiftPoints(group, 2, seed=5)
    points = seeded(data)
    assert torch.equal(points.lift_element, seeded(data).lift_element)
    other = LiftPoints(group, 2, seed=6)
    assert not torch.equal(points.lift_element, other(data).lift_element)

    graph = GroupGraph(group, math.inf, num_neighbors=3, seed=1)
    assert graph(points).lift_edge_index[1].bincount().tolist() == [3] * 14
    assert torch.equal(graph(points).lift_edge_index, graph(points).lift_edge_index)
    free = GroupGraph(group, math.inf, num_neighbors=3)
    assert not torch.equal(free(points).lift_edge_index, free(points).lift_edge_index)


def test_repr():
    assert str(LiftPoints(T(3))) == "LiftPoints(T(3), num_lifts=1)"
    points = LiftPoints(SE3(), 4, fixed=True)
    assert str(points) == "LiftPoints(SE3(alpha=0.2), num_lifts=4, fixed=True)"
    points = LiftPoints(SE3(), lift="frames")
    assert str(points) == "LiftPoints(SE3(alpha=0.2), frames)"
    assert str(GroupGraph(T(3), 0.5)) == "GroupGraph(T(3), radius=0.5)"
    assert str(pickle.loads(pickle.dumps(points))) == str(points)


def test_bad_arguments():
    with pytest.raises(ValueError, match="'lift' must be 'haar' or 'frames'"):
        LiftPoints(T(3), lift="random")
    with pytest.raises(ValueError, match="'num_lifts' must be at least 1"):
        LiftPoints(T(3), 0)
    with pytest.raises(ValueError, match="'num_lifts' follows from the frames"):
        LiftPoints(SE3(), 2, lift="frames")
    with pytest.raises(ValueError, match="'radius' must be positive"):
        GroupGraph(T(3), 0.0)
    with pytest.raises(ValueError, match="'num_neighbors' must be at least 1"):
        GroupGraph(T(3), 1.0, num_neighbors=0)


def test_bad_data():
    with pytest.raises(ValueError, match=r"set data.pos, of shape \(num_points, 3\)"):
        LiftPoints(T(3))(Data(x=torch.ones(2, 1)))
    with pytest.raises(TypeError, match="cannot lift a HeteroData"):
        LiftPoints(T(3))(HeteroData())
    with pytest.raises(ValueError, match="'data' has no lifted points"):
        GroupGraph(T(3), 1.0)(Data(pos=torch.ones(2, 3)))
    with pytest.raises(ValueError, match="'data' has no graph over lifted points"):
        neighborhood(LiftPoints(T(3))(Data(pos=torch.ones(2, 3))))
    with pytest.raises(ValueError, match=r"acts on 3-dimensional"):
        LiftPoints(T(3))(Data(pos=torch.ones(2, 2)))


def test_nearest_points_and_new_lifts():
    group = SE3()
    data = Data(pos=torch.randn(9, 3), x=torch.randn(9, 2))
    transform = Compose([LiftPoints(group, 2, seed=0), GroupGraph(group, k=4)])
    data = transform(data)
    expected = knn_graph(group, lifted(data), 4)
    assert neighborhood(data).edge_index.equal(expected.edge_index)
    assert repr(transform.transforms[1]) == "GroupGraph(SE3(alpha=0.2), k=4)"
    again = LiftPoints(group, 3)(data)
    assert "lift_edge_index" not in again
    for kwargs in ({}, {"k": 3, "radius": 1.0}, {"k": 3, "num_neighbors": 2}):
        with pytest.raises(ValueError, match="radius"):
            GroupGraph(group, **kwargs)
