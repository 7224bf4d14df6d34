import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from filelock import FileLock
from torch_geometric.datasets import QM9

from lieconv_pyg.datasets import (
    QM9_TARGETS,
    load_qm9,
    qm9_on_disk,
    qm9_references,
    qm9_root,
)
from tests.qm9_files import made_up_qm9

HARTREE = 27.211386246
#: QM9's own record of methane, in its units (Ha, except mu, alpha, r2 and Cv).
METHANE = {
    "mu": 0.0,
    "alpha": 13.21,
    "homo": -0.3877,
    "lumo": 0.1171,
    "gap": 0.5048,
    "r2": 35.3641,
    "zpve": 0.044749,
    "U0": -40.47893,
    "U": -40.476062,
    "H": -40.475117,
    "G": -40.498597,
    "Cv": 6.469,
}


def test_reads_pyg_dataset(qm9_folder, capsys):
    molecules = load_qm9("homo", qm9_folder)
    data = QM9(str(qm9_folder))
    assert len(molecules) == len(data)
    assert molecules[3].pos.equal(data[3].pos)
    assert molecules[3].name == data[3].name
    assert molecules.y.tolist() == pytest.approx((1000 * data.y[:, 2]).tolist())
    assert "rdkit" not in capsys.readouterr().err


def test_prepared_file_is_read_where_rdkit_is_installed(qm9_folder, monkeypatch):
    import types

    fake = types.ModuleType("rdkit")
    monkeypatch.setitem(sys.modules, "rdkit", fake)
    assert len(load_qm9("gap", qm9_folder)) > 30
    assert sys.modules["rdkit"] is fake


def test_root(qm9_folder, tmp_path, monkeypatch):
    monkeypatch.delenv("LIECONV_QM9_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert str(qm9_root()) == "data/QM9"
    assert not qm9_on_disk()
    monkeypatch.setenv("LIECONV_QM9_ROOT", str(qm9_folder))
    assert qm9_root() == qm9_folder
    assert qm9_on_disk()
    assert load_qm9("mu").target.name == "mu"


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"root or LIECONV_QM9_ROOT"):
        load_qm9("homo", tmp_path / "none")
    with pytest.raises(ValueError, match="Did you mean 'homo'"):
        load_qm9("homos", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(FileNotFoundError, match=r"cannot be reached.*'g2'"):
        load_qm9("homo", tmp_path / "QM9", download=True)
    assert list(tmp_path.iterdir()) == []


def test_one_process_prepares_and_the_others_wait(tmp_path):
    root = made_up_qm9(tmp_path / "QM9", 5)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(root / ".lock"):
            other = pool.submit(load_qm9, "homo", root)
            with pytest.raises(TimeoutError):
                other.result(timeout=0.5)
            assert not (root / "processed").exists()
        assert len(other.result(timeout=60)) == 5
    assert sorted(path.name for path in root.iterdir()) == ["processed", "raw"]


def test_damaged_file(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "qm9_v3.pt").write_bytes(b"not a file of torch")
    with pytest.raises(ValueError, match="cannot be read"):
        load_qm9("homo", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_references():
    assert not qm9_references("homo").any()
    assert not qm9_references("zpve").any()  # atoms do not vibrate
    assert qm9_references("Cv")[[1, 6, 7, 8, 9]].tolist() == [2.981] * 5
    assert qm9_references("u0")[1].item() == pytest.approx(-0.500273 * HARTREE * 1000)
    assert qm9_references("G")[9].item() == pytest.approx(-99.733544 * HARTREE * 1000)
    for target in QM9_TARGETS:
        assert qm9_references(target).count_nonzero().item() in {0, 5}


@pytest.mark.parametrize("name", QM9_TARGETS)
def test_units_of_real_data(real_qm9_folder, name):
    molecules = load_qm9(name, real_qm9_folder)
    assert molecules.names[0] == "gdb_1"
    in_hartree = QM9_TARGETS[name].unit == "meV"
    value = METHANE[name] * (HARTREE * 1000 if in_hartree else 1)
    assert molecules.y[0].item() == pytest.approx(value, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", ["U0", "U", "H", "G"])
def test_total_energies_of_real_data(real_qm9_folder, name):
    molecules = load_qm9(name, real_qm9_folder)
    stored = QM9(str(real_qm9_folder)).y[:, QM9_TARGETS[name].column]
    # PyG's column has the spacing of float32, about 1 meV here; ours must not.
    assert (molecules.y - 1000 * stored.double()).abs().max() < 1.0
    assert molecules.y.dtype == torch.float64
    atomization = molecules.y - molecules.composition() @ qm9_references(name)
    assert (atomization < 0).all()
    per_atom = atomization / molecules.num_atoms
    assert -6000 < per_atom.min() < per_atom.max() < -2000
