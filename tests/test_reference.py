"""The outputs of the original implementation, in float64 (see docs)."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lieconv_pyg.groups import group_resolver
from lieconv_pyg.lifting import Lifted
from lieconv_pyg.neighbors import Neighborhood, pair_coordinates, radius_graph
from lieconv_pyg.nn import LieResNet, load_original_state_dict

FOLDER = Path(os.environ.get("LIECONV_REFERENCE", Path(__file__).parent / "reference"))
NAMES = [
    "Trivial2",
    "Trivial3",
    "T2",
    "T3",
    "Tx",
    "Ty",
    "SO2",
    "RxSO2",
    "Rx",
    "SE2",
    "SO3",
    "SE3",
]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def group(name):
    return group_resolver(name, alpha=0.3 if name == "RxSO2" else 0.2)


@pytest.fixture
def reference(name):
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.fail(f"{path} is missing: set LIECONV_REFERENCE to its folder")
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture
def lifted(name, group, reference):
    """The points as the original had lifted them."""
    batch = reference["batch"].repeat_interleave(int(reference["num_lifts"]))
    point = torch.arange(len(reference["batch"]))
    point = point.repeat_interleave(int(reference["num_lifts"]))
    if "algebra" in reference:
        element = group.exp(reference["algebra"])
    else:
        element, _ = group.section(reference["pos"])
    if name.startswith("Trivial"):
        orbit = reference["pos"]
    else:
        orbit = reference.get("orbit", torch.zeros(len(batch), 0).double())
    return Lifted(element, orbit, batch, point, batch)


def assert_close(actual, expected, atol=1e-9):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def test_exp_and_log(group, reference):
    if "exp_in" not in reference:
        pytest.skip("the original has no exp for this group")
    assert_close(group.exp(reference["exp_in"]), reference["exp_out"])
    assert_close(group.log(reference["exp_out"]), reference["log_out"])


def at_branch(group, pairs):
    """Pairs that a half turn apart, where log has two values and rounding chose."""
    angle = {"SE2": 0, "SO2": 0, "RxSO2": 1}.get(type(group).__name__)
    if angle is None:
        return torch.zeros(len(pairs), dtype=torch.bool)
    return (pairs[:, angle].abs() - torch.pi).abs() < 1e-9


def test_pair_coordinates(group, reference, lifted):
    expected = reference["edge_attr"]
    pairs = pair_coordinates(group, lifted, lifted, reference["edge_index"])
    either = at_branch(group, expected)
    assert_close(pairs[~either], expected[~either])
    for part in (pairs, expected):  # both values have the same exponential
        part[either, : group.dim] = group.exp(part[either, : group.dim]).flatten(1)[
            :, : group.dim
        ]
    assert_close(pairs[either], expected[either])


def test_distances(name, group, reference, lifted):
    expected = reference["distance"]
    if name == "Rx":
        # There the original applies the formula of RxSO2 to what is an orbit label,
        # α|q_i| + (1-α)|log r|, which is not symmetric: we take the general distance.
        log_r, q_i, q_j = reference["edge_attr"].unbind(1)
        assert_close(expected, 0.2 * q_i.abs() + 0.8 * log_r.abs())
        expected = 0.2 * log_r.abs() + 0.8 * (q_i - q_j).abs()
    assert_close(group.distance(reference["edge_attr"]), expected)

    def by_edge(edge_index, values):
        pairs = zip(*edge_index.tolist(), strict=True)
        return dict(zip(pairs, values.tolist(), strict=True))

    graph = radius_graph(group, lifted, float("inf"))
    assert by_edge(graph.edge_index, graph.distance) == pytest.approx(
        by_edge(reference["edge_index"], expected), rel=0, abs=1e-9
    )


@pytest.mark.parametrize("norm", [None, "batch_norm"])
def test_network_outputs(group, reference, lifted, norm):
    key = "bn0" if norm is None else "bn1"
    state = {
        name.removeprefix(f"{key}_state/"): value
        for name, value in reference.items()
        if name.startswith(f"{key}_state/")
    }
    model = LieResNet(
        6, 2, group, hidden_channels=16, num_layers=2, norm=norm, pool="mean"
    ).double()
    before = model.eval()(reference["x"], lifted=lifted)
    load_original_state_dict(model, state)
    graph = None
    if at_branch(group, reference["edge_attr"]).any():  # the values that it chose
        graph = Neighborhood(
            reference["edge_index"], reference["edge_attr"], reference["distance"]
        )
    out = model(reference["x"], lifted=lifted, graph=graph)
    assert_close(out, reference[f"{key}_out"])
    assert (out - before).abs().max() > 1e-3  # it was the checkpoint that did it
