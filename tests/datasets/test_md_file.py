import numpy as np
import pytest
import torch

from lieconv_pyg.datasets import load_md_file, load_molecules
from tests.qm9_files import data_folder

Z = np.array([8, 1, 1], dtype=np.uint8)


def frames(num, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "R": rng.normal(size=(num, 3, 3)),
        "E": -1e6 + rng.normal(size=num),
        "F": rng.normal(size=(num, 3, 3)),
    }


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_md17(tmp_path):
    """With the other keys that sGDML writes, and its (M, 1) energies."""
    f = frames(5)
    extra = {"E_min": 1.0, "name": "water", "r_unit": "Ang", "F_mean": 0.0}
    path = save(tmp_path / "a.npz", z=Z, R=f["R"], E=f["E"][:, None], F=f["F"], **extra)
    molecules = load_md_file(path, unit="kcal/mol")
    assert len(molecules) == 5
    assert molecules.target.label == "energy (kcal/mol)" and molecules.target.extensive
    assert molecules.y.tolist() == f["E"].tolist()  # in float64
    for i, data in enumerate(molecules):
        assert data.z.tolist() == [8, 1, 1] and data.name == f"frame_{i}"
        assert data.pos.equal(torch.from_numpy(f["R"][i]).float())
        assert data.forces.equal(torch.from_numpy(f["F"][i]))
    assert molecules.references is None
    assert not load_md_file(path, unit="eV", extensive=False).target.extensive


def test_rmd17(tmp_path):
    f = frames(4)
    arrays = {
        "nuclear_charges": Z,
        "coords": f["R"],
        "energies": f["E"],
        "forces": f["F"],
        "old_energies": f["E"] + 1,
    }
    path = save(tmp_path / "rMD17_water.npz", **arrays)
    molecules = load_molecules(str(path), "Energy", unit="kcal/mol")
    assert molecules.y.tolist() == f["E"].tolist()
    assert molecules.forces.shape == (12, 3)
    with pytest.raises(ValueError, match="root does not go with the file"):
        load_molecules(str(path), "energy", root=tmp_path, unit="eV")


def test_parts_and_forces_of_some(tmp_path):
    parts = {"train_300K": frames(3), "test": frames(2, seed=1)}
    arrays = {f"{k}_{s}": v for s, f in parts.items() for k, v in f.items()}
    molecules = load_md_file(save(tmp_path / "a.npz", z=Z, **arrays), unit="eV")
    names = ["train_300K_0", "train_300K_1", "train_300K_2", "test_0", "test_1"]
    assert molecules.names == names
    assert molecules.y.tolist() == [*parts["train_300K"]["E"], *parts["test"]["E"]]
    assert molecules[4].forces.tolist() == parts["test"]["F"][1].tolist()
    del arrays["F_test"]
    path = save(tmp_path / "b.npz", z=Z, **arrays)
    with pytest.warns(UserWarning, match=r"2 of the 5 structures .* no forces"):
        assert load_md_file(path, unit="eV").forces is None
    del arrays["F_train_300K"]
    path = save(tmp_path / "c.npz", z=Z, **arrays)
    assert load_md_file(path, unit="eV").forces is None  # and no warning


def test_real_file():
    molecules = load_md_file(data_folder() / "md" / "ethanol.npz", unit="eV")
    assert len(molecules) == 2000 and len(molecules[0].z) == 9
    assert molecules.names[999:1001] == ["train_999", "test_0"]
    # The forces on a molecule balance.
    assert molecules.forces.view(2000, 9, 3).sum(1).abs().max() < 0.05
    assert 0.1 < molecules.forces.abs().mean() < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": None}, r"has neither z, R and E nor .* There is: z, E, F"),
        ({"z": None}, "has neither z, R and E"),
        ({"E": None}, "has R but no E"),
        ({"R": np.zeros((5, 4, 3))}, r"R of .* shape \(5, 3, 3\), got .* \(5, 4, 3\)"),
        ({"R": np.zeros((4, 3, 3))}, r"E of .* shape \(4,\), got float64 of .* \(5,\)"),
        ({"R": np.array(1.0)}, "R of .* must be numbers"),
        ({"F": np.zeros((5, 3))}, r"F of .* shape \(5, 3, 3\)"),
        ({"E": np.array(["a"] * 5)}, "E of .* must be numbers"),
        ({"z": np.array([8.0, 1.0, 1.0])}, "atomic numbers"),
        ({"z": np.array([8, 0, 1])}, "atomic numbers"),
        ({"E": np.array([None] * 5)}, "no whole .npz file of plain arrays"),
        ({"E": np.full(5, np.nan)}, "NaN or infinite for 5 molecules"),
        ({"r_unit": np.array("bohr")}, "positions are in 'bohr'"),
        ({k: v[:0] for k, v in frames(1).items()}, "has no structures"),
    ],
)
def test_wrong_arrays(tmp_path, change, message):
    arrays = {**{"z": Z, **frames(5)}, **change}
    arrays = {k: v for k, v in arrays.items() if v is not None}
    path = save(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_md_file(path, unit="eV")


def test_wrong_files(tmp_path):
    good = save(tmp_path / "a.npz", z=Z, **frames(50))
    with pytest.raises(ValueError, match="unit: say in what unit the energies"):
        load_md_file(good)
    with pytest.raises(ValueError, match=r"'forces' does not exist.*energy"):
        load_md_file(good, "forces", "eV")
    with pytest.raises(FileNotFoundError, match="nor a file that exists"):
        load_molecules(str(tmp_path / "none.npz"), "energy", unit="eV")
    whole = good.read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for content in (
        whole[: len(whole) // 2],
        bytes(damaged),
        b"",
        b"some text",
        (tmp_path / "one.npy").read_bytes(),
    ):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"no whole \.npz file of plain"):
            load_md_file(tmp_path / "b.npz", unit="eV")
