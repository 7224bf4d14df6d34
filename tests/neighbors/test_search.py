import sys
import types
import warnings
from itertools import pairwise

import pytest
import torch

from lieconv_pyg.groups import T
from lieconv_pyg.lifting import lift
from lieconv_pyg.neighbors import available_backends, radius_graph, search
from lieconv_pyg.neighbors.cells import cell_candidates
from lieconv_pyg.neighbors.layout import Layout
from tests.clouds import DTYPES, cloud, generator, lifted_cloud, ragged_batch


@pytest.fixture
def fresh_search():
    """Forgets what is known about libraries, before and after."""
    search._load.cache_clear()
    search._warn_fallback.cache_clear()
    yield
    search._load.cache_clear()
    search._warn_fallback.cache_clear()


@pytest.mark.parametrize("name", search.BACKENDS)
def test_backend_is_tested_here(name):
    if name not in available_backends():
        pytest.skip(f"{name} is not installed: {search._load(name)}")
    assert search.resolve_backend(name, torch.device("cpu")) == name


def problem(sizes_x, sizes_y, dim, dtype, seed=0):
    x = torch.randn(sum(sizes_x), dim, generator=generator(seed), dtype=dtype)
    y = torch.randn(sum(sizes_y), dim, generator=generator(seed + 1), dtype=dtype)
    x, y = x / dim**0.5, y / dim**0.5
    x[:2] = x[:1]
    layout = Layout.build(ragged_batch(*sizes_x), ragged_batch(*sizes_y))
    near = torch.cdist(y, x, compute_mode="donot_use_mm_for_euclid_dist") < 0.7
    near &= layout.dst[:, None] == layout.src[None]
    return layout, x, y, near.nonzero().tolist()


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dim", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("dense", [True, False])
def test_candidates(dim, dtype, backend, dense, monkeypatch):
    if not dense:
        monkeypatch.setattr("lieconv_pyg.neighbors.cells.DENSE_PAIRS", 0)
    layout, x, y, expected = problem([70, 0, 1, 90], [50, 3, 0, 60], dim, dtype)
    assert len(expected) > 30
    chunks = list(search.candidates(layout, x, y, 0.7, backend, 200))
    found = torch.cat(chunks, dim=1)
    assert sorted(found.flip(0).t().tolist()) == expected
    targets = [chunk[1] for chunk in chunks if chunk.size(1) > 0]
    for before, after in pairwise(targets):
        assert before.max() < after.min()


@pytest.mark.parametrize("backend", [b for b in available_backends() if b != "torch"])
@pytest.mark.parametrize("guess", [1, 4, 1000])
@pytest.mark.parametrize("slots", [1, 100, 10**6])
def test_slotted_search_never_truncates(backend, guess, slots):
    # The way of CUDA kernels, here on the CPU.
    layout, x, y, expected = problem([70, 0, 1, 90], [50, 3, 0, 60], 3, torch.float64)
    parts = list(search.slotted_candidates(layout, x, y, 0.7, backend, slots, guess))
    found = torch.cat(parts, dim=1)
    assert sorted(found.flip(0).t().tolist()) == expected
    assert bool((found[1].diff() >= 0).all())


def test_cells_with_a_radius_beyond_the_cloud(monkeypatch):
    monkeypatch.setattr("lieconv_pyg.neighbors.cells.DENSE_PAIRS", 0)
    layout, x, _, _ = problem([5, 4], [1], 3, torch.float64)
    layout = layout._replace(dst=layout.src)
    found = torch.cat(list(cell_candidates(layout, x, x, 100.0, 7)), dim=1)
    assert found.size(1) == 25 + 16


def test_cells_look_at_few_pairs(monkeypatch):
    monkeypatch.setattr("lieconv_pyg.neighbors.cells.DENSE_PAIRS", 0)
    seen = []

    def record(*args):
        for index in original(*args):
            seen.append(index.size(1))
            yield index

    import lieconv_pyg.neighbors.cells as cells

    original = cells._close_pairs
    monkeypatch.setattr(cells, "_close_pairs", record)
    x = torch.rand(4000, 3, generator=generator())
    layout = Layout.build(torch.zeros(4000), torch.zeros(4000))
    found = sum(c.size(1) for c in cell_candidates(layout, x, x, 0.1, 10**5))
    assert found > 4000
    assert sum(seen) < 10 * found < 4000**2 / 10
    assert max(seen) <= 10**5 + 4000


def test_unknown_backend():
    with pytest.raises(ValueError, match=r"one of \['torch_cluster'.*Available here"):
        search.resolve_backend("faiss", torch.device("cpu"))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_devices(device, monkeypatch):
    # Only what is built for a device is used there.
    device = torch.device(device)
    monkeypatch.setattr(search, "_has_cuda", lambda name: False)
    assert available_backends(device) == ["torch"]
    assert search.resolve_backend("torch", device) == "torch"
    for name in set(available_backends()) - {"torch"}:
        with pytest.raises(ImportError, match=f"built without support for {device}"):
            search.resolve_backend(name, device)
    monkeypatch.setattr(search, "_has_cuda", lambda name: True)
    expected = available_backends() if device.type == "cuda" else ["torch"]
    assert available_backends(device) == expected


@pytest.mark.skipif("torch_cluster" not in available_backends(), reason="not installed")
def test_torch_cluster_knows_its_devices():
    assert search._has_cuda("torch_cluster") == (
        torch.ops.torch_cluster.cuda_version() > 0
    )


@pytest.mark.usefixtures("fresh_search")
def test_missing_backend(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyg_lib", None)
    assert "pyg_lib" not in available_backends()
    with pytest.raises(ImportError, match=r"pyg_lib.*Install pyg-lib"):
        radius_graph(T(3), lifted_cloud(T(3)), 1.0, backend="pyg_lib")


@pytest.mark.usefixtures("fresh_search")
def test_a_library_without_the_search_is_no_backend(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyg_lib", types.ModuleType("pyg_lib"))
    if not hasattr(torch.ops.pyg, "radius"):
        assert "pyg_lib" not in available_backends()


@pytest.mark.usefixtures("fresh_search")
def test_fallback_warns_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyg_lib", None)
    lifted = lifted_cloud(T(3))
    expected = radius_graph(T(3), lifted, 0.4)
    monkeypatch.setitem(sys.modules, "torch_cluster", None)
    search._load.cache_clear()
    search._warn_fallback.cache_clear()  # without torch-cluster it has warned already
    assert available_backends() == ["torch"]
    with pytest.warns(UserWarning, match=r"pip install .* torch-cluster"):
        graph = radius_graph(T(3), lifted, 0.4)
    assert torch.equal(graph.edge_index, expected.edge_index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        radius_graph(T(3), lifted, 0.4)
    search._warn_fallback.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        radius_graph(T(3), lifted, 0.4, backend="torch")


@pytest.mark.usefixtures("fresh_search")
def test_pyg_lib_is_called_with_its_arguments(monkeypatch):
    # pyg::radius(x, y, ptr_x, ptr_y, r, max_num_neighbors, num_workers, ignore_same)
    calls = []

    def radius(x, y, ptr_x, ptr_y, r, limit, workers, ignore_same):
        calls.append((ptr_x.tolist(), ptr_y.tolist(), limit, workers, ignore_same))
        near = torch.cdist(y, x) < r
        batch_x = torch.bucketize(torch.arange(x.size(0)), ptr_x, right=True)
        batch_y = torch.bucketize(torch.arange(y.size(0)), ptr_y, right=True)
        return (near & (batch_y[:, None] == batch_x[None])).nonzero().t()

    group, load = T(3), search._load
    lifted = lift(group, cloud(group, 12), ragged_batch(5, 7))
    expected = radius_graph(group, lifted, 0.3, backend="torch")
    monkeypatch.setattr(
        search, "_load", lambda name: radius if name == "pyg_lib" else load(name)
    )
    graph = radius_graph(group, lifted, 0.3, backend="pyg_lib")
    assert torch.equal(graph.edge_index, expected.edge_index)
    assert calls == [([0, 5, 12], [0, 5, 12], 7, 1, False)]
    monkeypatch.undo()
