import math
import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lieconv_pyg.groups import SE2, T
from lieconv_pyg.lifting import lift
from lieconv_pyg.nn import GroupNeighborhood

from .conftest import make_lifted, make_points


def lifted_points(group, sizes=(40, 25), seed=0):
    _, pos, batch = make_points(group, sizes, seed=seed)
    return make_lifted(group, pos, batch)


def test_fill_one_needs_no_calibration():
    search = GroupNeighborhood(T(2)).eval()
    graph = search(lifted_points(T(2), (3, 2)))
    assert search.is_calibrated
    assert graph.edge_index.size(1) == 9 + 4


def test_radius_in_the_users_units():
    group = T(2, alpha=1.0)
    pos = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.5]])
    search = GroupNeighborhood(group, radius=1.2).eval()
    edges = search(lift(group, pos)).edge_index.t().tolist()
    assert sorted(edges) == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2]]


def test_num_neighbors():
    search = GroupNeighborhood(SE2(), fill=0.5, num_neighbors=4, eval_num_neighbors=7)
    lifted = lifted_points(SE2())
    graphs = [search(lifted) for _ in range(2)]
    assert torch.bincount(graphs[0].edge_index[1]).max() == 4
    assert not graphs[0].edge_index.equal(graphs[1].edge_index)
    search.eval()
    graphs = [search(lifted) for _ in range(2)]
    assert torch.bincount(graphs[0].edge_index[1]).max() == 7
    assert graphs[0].edge_index.equal(graphs[1].edge_index)


def test_envelope():
    search = GroupNeighborhood(T(2), fill=0.4, envelope=True)
    graph = search(lifted_points(T(2)))
    assert graph.edge_weight.max() == 1  # each point itself
    assert graph.edge_weight.min() < 0.05


def test_no_radius_from_points_in_one_place():
    search = GroupNeighborhood(T(2), fill=0.4)
    place = torch.ones(3, 2, dtype=torch.double)
    for pos in (place[:1], place):
        assert search(lift(T(2), pos)).edge_index.size(1) == len(pos) ** 2
        assert not search.is_calibrated
    search(lifted_points(T(2)))
    assert search.is_calibrated


def test_to_empty():
    search = GroupNeighborhood(T(2), fill=0.4).to("meta").to_empty(device="cpu")
    assert search.radius.device.type == "cpu"


def _calibrate(rank, port, queue):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    search = GroupNeighborhood(T(2), fill=0.3)
    search(lifted_points(T(2), seed=rank))
    queue.put(float(search.radius))
    dist.barrier()
    dist.destroy_process_group()


def test_the_same_radius_in_every_process():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_calibrate, (port, queue), nprocs=2)
    radii = [queue.get(), queue.get()]
    assert radii[0] == radii[1]
    alone = GroupNeighborhood(T(2), fill=0.3)
    alone.calibrate(lifted_points(T(2), seed=1))
    assert not math.isclose(float(alone.radius), radii[0])


def test_bad_input():
    with pytest.raises(ValueError, match="fill"):
        GroupNeighborhood(T(2), fill=float("nan"))
    with pytest.raises(RuntimeError, match=r"fill=0.5.*calibrate"):
        GroupNeighborhood(T(2), fill=0.5).eval()(lifted_points(T(2)))
    with pytest.raises(ValueError, match="backend"):
        GroupNeighborhood(T(2), radius=1.0, backend="scipy")(lifted_points(T(2)))


def test_repr():
    assert repr(GroupNeighborhood(T(2), k=3)) == f"GroupNeighborhood({T(2)}, k=3)"
    search = GroupNeighborhood(T(2), radius=1.5)
    assert repr(search) == f"GroupNeighborhood({T(2)}, fill=1.0, radius=1.5)"
