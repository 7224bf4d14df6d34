import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from lieconv_pyg.datasets import TopTagging, jet_files, read_jet_arrays, read_jet_table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what other packages say of each other
    try:
        import pandas
        import tables  # noqa: F401

        MISSING = None
    except ImportError as error:
        MISSING = f"jets in HDF5 files need pandas and PyTables: {error}"
needs_pandas = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def momenta(number=9, most=6, seed=0):
    """Jets with padding, and labels: massless momenta, and some with a mass."""
    rng = np.random.default_rng(seed)
    counts = 1 + np.arange(number) % most
    p = rng.normal(size=(number, most, 4)) * 100
    masses = rng.choice([0.0, 5.0], size=(number, most))
    p[..., 0] = np.sqrt((p[..., 1:] ** 2).sum(-1) + masses**2)
    p[np.arange(most) >= counts[:, None]] = 0
    return p.astype(np.float32), np.arange(number) % 2


def npz(path, seed=0, **changes):
    arrays = {}
    for number, split in enumerate(("train", "val", "test")):
        p, y = momenta(9 - number, seed=seed + number)
        arrays |= {f"kinematics_{split}": p, f"labels_{split}": y}
    np.savez(path, **{**arrays, **changes})
    return path


def hdf5(path, p, y, key="table", form="table", drop=(), chunk=None):
    """A table with the columns of the published one, and another."""
    names = [f"{n}_{i}" for i in range(p.shape[1]) for n in ("E", "PX", "PY", "PZ")]
    frame = pandas.DataFrame(p.reshape(len(p), 4 * p.shape[1]), columns=names)
    frame["ttv"], frame["is_signal_new"] = 0, y
    frame = frame.drop(columns=list(drop))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame.to_hdf(path, key=key, format=form, mode="w")
    return path


@pytest.fixture(params=["npz", pytest.param("hdf5", marks=needs_pandas)])
def root(request, tmp_path, monkeypatch):
    """The same jets in either form, that are read in several goes."""
    monkeypatch.setattr(jet_files, "_TOGETHER", 4)
    if request.param == "npz":
        return npz(tmp_path / "jets.npz")
    for number, split in enumerate(("train", "val", "test")):
        folder = tmp_path / ("raw" if split == "val" else "")
        folder.mkdir(exist_ok=True)
        jets = momenta(9 - number, seed=number)
        hdf5(folder / f"{split}.h5", *jets, form="fixed" if number == 2 else "table")
    return tmp_path


def test_items(root):
    for number, split in enumerate(("train", "val", "test")):
        data = TopTagging(root, split, unit=10.0)
        p, y = momenta(9 - number, seed=number)
        assert len(data) == len(y) and data.num_classes == 2
        assert repr(data) == f"TopTagging({len(y)})" and data.split == split
        for jet, item in enumerate(data):
            own = p[jet][p[jet].any(-1)]
            assert item.pos.dtype == torch.float32 and item.num_nodes == len(own)
            np.testing.assert_allclose(item.pos, own / 10, rtol=1e-6)
            assert item.y.tolist() == [y[jet]]
        total = p.astype(float).sum(1)
        np.testing.assert_allclose(data.momenta(), total, rtol=1e-6, atol=1e-4)
        square = total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(-1)
        mass = np.sqrt(square.clip(0))
        np.testing.assert_allclose(data.masses(), mass, rtol=1e-3, atol=0.1)
        assert data.counts.tolist() == [1 + jet % 6 for jet in range(len(y))]


def test_parts_and_batches(root):
    data = TopTagging(root, limit=7, max_constituents=2)
    assert data.counts.tolist() == [1, 2, 2, 2, 2, 2, 1]
    whole = TopTagging(root)
    assert data[3].pos.equal(whole[3].pos[:2]) and data.y.equal(whole.y[:7])
    assert whole[2:5].counts.tolist() == [3, 4, 5]
    assert whole[2:5].masses().equal(whole.masses()[2:5])
    batch = next(iter(DataLoader(whole, batch_size=3)))
    assert batch.pos.shape == (6, 4) and batch.batch.tolist() == [0, 1, 1, 2, 2, 2]
    torch.testing.assert_close(
        20 * TopTagging(root, unit=20.0)[1].pos, TopTagging(root)[1].pos
    )


def test_what_is_prepared_is_kept(root, monkeypatch):
    before = TopTagging(root)[4].pos
    monkeypatch.setattr(TopTagging, "_read", lambda self: 1 / 0)
    assert TopTagging(root)[4].pos.equal(before)
    with pytest.raises(ZeroDivisionError):
        TopTagging(root, limit=3)
    with pytest.raises(ZeroDivisionError):
        TopTagging(root, force_reload=True)
    folder = (root if root.is_dir() else root.parent) / "processed"
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"\.pt is damaged: remove it"):
        TopTagging(root)


def wrong(what):
    p, y = momenta()
    p, y = p.copy(), y.astype(float)
    if what == "label":
        y[5] = 2
    elif what == "nan":
        p[5, 0, 2] = np.nan
    elif what == "energy":
        p[5, 0, 0] *= -1
    elif what == "tachyon":
        p[5, 0, 0] *= 0.999
    elif what == "massless without energy":
        p[5, 0, 0] = 0
    else:
        p[5] = 0
    return p, y


WRONG = {
    "label": "a label that is neither 0 nor 1 in jet 5",
    "nan": "NaN or infinite momenta in jet 5",
    "energy": "a negative energy in jet 5",
    "tachyon": r"less energy than momentum \(E < \|p\|\) in jet 5",
    "massless without energy": r"less energy than momentum \(E < \|p\|\) in jet 5",
    "empty": "no constituents in jet 5",
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("form", ["npz", pytest.param("hdf5", marks=needs_pandas)])
def test_jets_that_cannot_be(what, form, tmp_path, monkeypatch):
    monkeypatch.setattr(jet_files, "_TOGETHER", 4)
    p, y = wrong(what)
    if form == "npz":
        path = npz(tmp_path / "a.npz", kinematics_train=p, labels_train=y)
    else:
        path = hdf5(tmp_path / "train.h5", p, y)

    def read(limit=None):
        if form == "npz":
            return read_jet_arrays(path, "train", limit)
        return read_jet_table(path, limit)

    with pytest.raises(ValueError, match=WRONG[what]):
        read()
    assert len(read(5).y) == 5


def test_rounding_is_borne(tmp_path):
    p, y = momenta()
    p[..., 0] *= 1 - 2e-7
    path = npz(tmp_path / "a.npz", kinematics_train=p, labels_train=y)
    assert read_jet_arrays(path, "train").counts.sum() == p.any(-1).sum()


def test_npz_of_something_else(tmp_path):
    p, y = momenta()
    path = tmp_path / "a.npz"
    np.savez(path, kinematics_train=p)
    with pytest.raises(ValueError, match=r"arrays \['kinematics_train'\], not kin"):
        read_jet_arrays(path, "train")
    for changes, message in (
        ({"kinematics_train": p[..., :3]}, r"shape \(N, n, 4\) .* got \(9, 6, 3\)"),
        ({"labels_train": y[:5]}, r"got \(9, 6, 4\) and \(5,\)"),
        ({"kinematics_train": p[:0], "labels_train": y[:0]}, "has no jets"),
    ):
        with pytest.raises(ValueError, match=message):
            read_jet_arrays(npz(path, **changes), "train")
    content = npz(path).read_bytes()
    for number in (0, 10, len(content) // 2):
        path.write_bytes(content[:number])
        with pytest.raises(ValueError, match="is cut off, damaged or no such file"):
            read_jet_arrays(path, "train")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("kinematics_train.npy", b"nothing")
    with pytest.raises(ValueError, match="not kinematics_train and labels_train"):
        read_jet_arrays(path, "train")
    with path.open("wb") as file:
        np.save(file, p)
    with pytest.raises(ValueError, match="is cut off, damaged or no such file"):
        read_jet_arrays(path, "train")


@needs_pandas
def test_tables_of_something_else(tmp_path):
    p, y = momenta()
    path = tmp_path / "train.h5"
    with pytest.raises(ValueError, match=r"has the keys \['/jets'\], not 'table'"):
        read_jet_table(hdf5(path, p, y, key="jets"))
    with pytest.raises(ValueError, match=r"lacks the columns \['PX_3'\]"):
        read_jet_table(hdf5(path, p, y, drop=["PX_3"]))
    with pytest.raises(ValueError, match=r"lacks the columns \['is_signal_new'\]"):
        read_jet_table(hdf5(path, p, y, drop=["is_signal_new"]))
    with pytest.raises(ValueError, match=r"has the keys \[\], not 'table'"):
        read_jet_table(hdf5(path, p[:0], y[:0]))
    with pytest.raises(ValueError, match="has no jets"):
        read_jet_table(hdf5(path, p[:0], y[:0], form="fixed"))
    content = hdf5(path, p, y).read_bytes()
    for number in (0, 100, len(content) // 2):
        path.write_bytes(content[:number])
        with pytest.raises(ValueError, match="is cut off, damaged or no such file"):
            read_jet_table(path)


def test_files_that_are_missing(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"TopTagging is not at .*train\.h5"):
        TopTagging(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"TopTagging is not at .*a\.npz"):
        TopTagging(tmp_path / "a.npz")
    for read in (read_jet_table, lambda path: read_jet_arrays(path, "val")):
        if read is read_jet_table and MISSING:
            continue
        with pytest.raises(FileNotFoundError, match="there is no file"):
            read(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "train.h5").touch()
    monkeypatch.setitem(sys.modules, "tables", None)
    with pytest.raises(ImportError, match=r"pip install \"lieconv_pyg\[jets\]\""):
        TopTagging(tmp_path)


@pytest.mark.parametrize(
    "settings,error,message",
    [
        ({"split": "valid"}, ValueError, "'split' must be one of .* got 'valid'"),
        ({"unit": 0.0}, ValueError, "'unit' must be a positive number of GeV"),
        ({"unit": float("nan")}, ValueError, "'unit' must be a positive number"),
        ({"max_constituents": 0}, ValueError, "'max_constituents' must be at least 1"),
        ({"limit": 0}, ValueError, "'limit' must be at least 1"),
        ({"limit": 1.5}, TypeError, "'limit' must be an integer"),
    ],
)
def test_bad_arguments(settings, error, message, tmp_path):
    with pytest.raises(error, match=message):
        TopTagging(npz(tmp_path / "a.npz"), **settings)
