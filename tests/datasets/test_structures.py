"""Structures in and out of ASE's formats."""

import os

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from torch_geometric.loader import DataLoader

from lieconv_pyg.datasets import (
    energy_factor,
    load_ase_file,
    read_structures,
    structures_data,
    write_structures,
)

NAMES = ["H2O", "CH4", "NH3"]


def structures():
    out = [molecule(name) for name in NAMES]
    for atoms, name in zip(out, NAMES, strict=True):
        atoms.info["name"] = name
    return out


def predictions(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "energy": rng.normal(size=3),
        "forces": [rng.normal(size=(len(a), 3)) for a in structures()],
        "dipole": rng.normal(size=(3, 3)),
        "homo": rng.normal(size=3),
        "H": rng.normal(size=3),  # also an element
        "CO": rng.normal(size=3),  # also a formula
        "axis": rng.normal(size=(3, 3)),
    }


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "traj", "db", "json", "xyz.gz"])
def test_round_trip(tmp_path, suffix):
    path, results = tmp_path / f"a.{suffix}", predictions()
    units = {"homo": "meV", "H": "eV"}
    assert write_structures(path, structures(), results, units=units)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing else is left
    for i, atoms in enumerate(read_structures(path)):
        assert atoms.get_chemical_formula() == structures()[i].get_chemical_formula()
        assert atoms.get_potential_energy() == pytest.approx(results["energy"][i])
        np.testing.assert_allclose(atoms.get_forces(), results["forces"][i], atol=1e-7)
        dipole = atoms.get_dipole_moment()
        np.testing.assert_allclose(dipole, results["dipole"][i], atol=1e-7)
        assert atoms.info["homo"] == pytest.approx(results["homo"][i])
        assert atoms.info["homo_unit"] == "meV"
        assert atoms.info["H"] == pytest.approx(results["H"][i])
        np.testing.assert_allclose(atoms.info["axis"], results["axis"][i], atol=1e-7)
        assert "axis_unit" not in atoms.info
        assert atoms.info["name"] == NAMES[i]
    assert load_ase_file(path, "homo", "meV").names == NAMES


def test_database_has_numbers_as_pairs_and_vectors_as_data(tmp_path):
    write_structures(tmp_path / "a.db", structures(), predictions())
    row = connect(tmp_path / "a.db").get(2)
    assert row.homo == pytest.approx(predictions()["homo"][1])
    assert set(row.data) == {"axis", "H", "CO"}
    assert len(list(connect(tmp_path / "a.db").select("homo>-100"))) == 3


@pytest.mark.parametrize("suffix", ["pdb", "cif"])
def test_formats_that_hold_no_values_say_so(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    assert not write_structures(path, structures(), predictions())
    assert len(path.read_text()) > 100
    positions = {"homo": np.zeros(3)}
    assert not write_structures(path, structures(), positions, overwrite=True)


def test_units_are_converted_to_those_of_ase(tmp_path):
    results = predictions()
    units = {"energy": "kcal/mol", "forces": "kcal/mol/Å", "dipole": "D"}
    write_structures(tmp_path / "a.traj", structures(), results, units=units)
    write_structures(tmp_path / "b.traj", structures(), results)
    a, b = (read_structures(tmp_path / f"{name}.traj")[1] for name in "ab")
    kcal = energy_factor("kcal/mol")
    energies = (a.get_potential_energy(), kcal * b.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1])
    np.testing.assert_allclose(a.get_forces(), kcal * b.get_forces())
    np.testing.assert_allclose(
        a.get_dipole_moment(), 0.2081943 * b.get_dipole_moment(), rtol=1e-6
    )
    with pytest.raises(ValueError, match="Did you mean 'kcal/mol'"):
        write_structures(
            tmp_path / "c.traj", structures(), results, units={"energy": "kcal"}
        )
    with pytest.raises(ValueError, match="units has 'gap', results has not"):
        write_structures(
            tmp_path / "c.traj", structures(), results, units={"gap": "eV"}
        )


def test_what_was_there_is_replaced_or_kept(tmp_path):
    """No reference energy beside a predicted one; the structures stay as they are."""
    atoms = structures()
    for a in atoms:
        zeros = np.zeros((len(a), 3))
        a.calc = SinglePointCalculator(a, energy=-5.0, forces=zeros, dipole=[0, 0, 1])
        a.info.update(homo=-1.0, energy=-7.0)
        a.arrays["forces"] = zeros
    results = {"energy": torch.arange(3.0), "homo": np.arange(3)}
    assert write_structures(tmp_path / "a.xyz", atoms, results)
    found = read_structures(tmp_path / "a.xyz")[1]
    assert (found.get_potential_energy(), found.info["homo"]) == (1, 1)
    assert found.calc.results.keys() == {"energy"}
    assert "forces" not in found.arrays
    assert atoms[1].info["homo"] == -1 and atoms[1].get_potential_energy() == -5
    for a in atoms:
        del a.arrays["forces"], a.info["energy"]
    assert write_structures(tmp_path / "b.traj", atoms, {"homo": [7, 8, 9]})
    found = read_structures(tmp_path / "b.traj")[1]
    assert (found.get_potential_energy(), found.info["homo"]) == (-5, 8)


def test_forces_may_be_flat(tmp_path):
    flat = torch.from_numpy(np.concatenate(predictions()["forces"]))
    assert write_structures(tmp_path / "a.traj", structures(), {"forces": flat})
    found = read_structures(tmp_path / "a.traj")
    np.testing.assert_array_equal(np.concatenate([a.get_forces() for a in found]), flat)


def test_files_are_not_overwritten(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="set overwrite"):
        write_structures(path, structures(), predictions())
    assert path.read_text() == "mine"
    with pytest.raises(FileExistsError, match="exists"):
        write_structures(tmp_path, structures(), {}, format="xyz", overwrite=True)
    assert write_structures(path, structures(), predictions(), overwrite=True)
    assert len(read_structures(path)) == 3


@pytest.mark.parametrize("name", ["a.vasp", "a.nonsense", "a", "a.bundle"])
@pytest.mark.parametrize("num", [1, 3])
def test_failures_leave_what_was_there(tmp_path, name, num):
    (tmp_path / name).write_text("mine")
    format = "bundletrajectory" if name == "a.bundle" else None
    message = f"ASE cannot write {num} struct|in what format"
    with pytest.raises(ValueError, match=message):
        write_structures(
            tmp_path / name, structures()[:num], {}, format, overwrite=True
        )
    assert (tmp_path / name).read_text() == "mine"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"homo": [1.0, 2.0]}, r"homo must be of shape \(3,\) or \(3, 3\).*\(2,\)"),
        ({"homo": np.zeros((3, 2))}, "homo must be of shape"),
        ({"forces": np.zeros((5, 3))}, r"forces must be \(N, 3\)"),
        ({"forces": [np.zeros((3, 3))] * 3}, r"forces must be \(N, 3\)"),
    ],
)
def test_wrong_sizes(tmp_path, results, message):
    with pytest.raises(ValueError, match=message):
        write_structures(tmp_path / "a.xyz", structures(), results)
    with pytest.raises(ValueError, match="no structures to write"):
        write_structures(tmp_path / "a.xyz", [], {"homo": []})
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_structures(tmp_path / "b" / "a.xyz", structures(), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["xyz", "db"])
def test_index(tmp_path, suffix):
    path = tmp_path / f"a@2.{suffix}"  # not ASE's file@index
    write_structures(path, structures(), {})
    for index, names in (
        (":", NAMES),
        ("-1", NAMES[2:]),
        (0, NAMES[:1]),
        ("1:", NAMES[1:]),
    ):
        found = read_structures(path, index)
        assert [a.get_chemical_formula(mode="reduce") for a in found] == [
            molecule(name).get_chemical_formula(mode="reduce") for name in names
        ]
    with pytest.raises(ValueError, match="ASE cannot read"):
        read_structures(path, "first")


def test_format_may_be_named(tmp_path):
    write(tmp_path / "a.dat", structures(), format="extxyz")
    assert len(read_structures(tmp_path / "a.dat", format="extxyz")) == 3
    assert write_structures(tmp_path / "b.dat", structures(), {"homo": [1, 2, 3]}, "db")
    assert read_structures(tmp_path / "b.dat", format="db")[2].info["homo"] == 3


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="structures: there is no file"):
        read_structures(tmp_path / "none.xyz")
    (tmp_path / "bad.xyz").write_text("three\nfour\n")
    (tmp_path / "bad.db").write_bytes(b"SQLite format 3\x00 and no more")
    for name in ("bad.xyz", "bad.db"):
        with pytest.raises(ValueError, match="ASE cannot read"):
            read_structures(tmp_path / name)


def test_data():
    data = structures_data([*structures(), Atoms("H")])
    assert [d.name for d in data] == [*NAMES, "H_3"]
    assert data[0].z.tolist() == [8, 1, 1] and data[0].z.dtype == torch.long
    assert data[0].pos.equal(torch.from_numpy(structures()[0].positions).float())
    assert "y" not in data[0]
    batch = next(iter(DataLoader(data, batch_size=4)))
    assert batch.batch.tolist() == [0] * 3 + [1] * 5 + [2] * 4 + [3]


def test_data_of_faulty_structures():
    for atoms, message in (
        (Atoms(), "'_1' has no atoms"),
        (Atoms("X"), "'X_1' has atoms of no known element"),
        (Atoms("H", [[0, 0, np.nan]]), "'H_1' has NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            structures_data([molecule("H2O"), atoms])
    with pytest.warns(UserWarning, match="1 of the 2 structures are periodic"):
        structures_data([molecule("H2O"), bulk("Cu")])
