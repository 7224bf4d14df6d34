import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from lieconv_pyg.datasets import (
    ase_file,
    load_ase_file,
    load_molecules,
    write_structures,
)
from tests.molecules import distorted

NAMES = ["H2O", "CH4", "NH3", "C2H6"]


def structures(**info):
    """Molecules with an energy from a calculator and a gap in ``info``."""
    out = []
    for i, name in enumerate(NAMES):
        atoms = molecule(name)
        atoms.info.update(gap=5.0 + i, name=name, comment="text", **info)
        energy = -100.0 - i
        forces = np.zeros((len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        out.append(atoms)
    return out


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "traj", "db", "json"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"molecules.{suffix}"
    if suffix in {"db", "json"}:
        with connect(path) as database:
            for atoms in structures():
                database.write(atoms, gap=atoms.info["gap"], data={"size": len(atoms)})
    else:
        write(path, structures())
    energy = load_ase_file(path)
    assert energy.y.tolist() == [-100.0, -101.0, -102.0, -103.0]
    assert energy.target.label == "energy (eV)"
    assert energy.target.extensive
    assert energy[1].z.tolist() == molecule("CH4").numbers.tolist()
    assert energy[1].pos.tolist() == pytest.approx(
        [pytest.approx(p, abs=1e-6) for p in molecule("CH4").positions.tolist()]
    )
    gap = load_ase_file(path, "GAP", unit="eV")
    assert gap.y.tolist() == [5.0, 6.0, 7.0, 8.0]
    assert not gap.target.extensive
    if suffix in {"db", "json"}:
        assert load_ase_file(path, "size", "atoms").y.tolist() == [3, 5, 4, 8]
    else:
        assert energy.names == NAMES


def test_names_without_names(tmp_path):
    path = tmp_path / "a.traj"
    atoms = structures()[0]
    del atoms.info["name"]
    write(path, atoms)
    assert load_ase_file(path).names == ["H2O_0"]


def test_unknown_property(tmp_path):
    write(tmp_path / "a.traj", structures())
    with pytest.raises(ValueError, match=r"Did you mean 'energy'.*energy, gap"):
        load_ase_file(tmp_path / "a.traj", "enrgy")
    for name, kind in (("forces", r"an array of shape \(3, 3\)"), ("comment", "a str")):
        with pytest.raises(ValueError, match=f"is {kind}: a target is a number or a"):
            load_ase_file(tmp_path / "a.traj", name)


def test_missing_in_some(tmp_path):
    atoms = structures()
    del atoms[2].info["gap"]
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(ValueError, match=r"1 of the 4 structures .* number 2"):
        load_ase_file(tmp_path / "a.traj", "gap", "eV")


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "db", "json"])
def test_vectors_and_forces(tmp_path, suffix):
    atoms, rng = structures(), np.random.default_rng(0)
    for a in atoms:
        values = {"forces": rng.normal(size=(len(a), 3)), "dipole": rng.normal(size=3)}
        a.calc = SinglePointCalculator(a, energy=-1.0, free_energy=-2.0, **values)
        a.info["field"] = rng.normal(size=3)
    path = tmp_path / f"a.{suffix}"
    assert write_structures(path, atoms, {})
    forces = np.concatenate([a.calc.results["forces"] for a in atoms])
    for name in ("energy", "free_energy"):
        energy = load_ase_file(path, name)
        np.testing.assert_allclose(energy.forces, forces, atol=1e-7)
    dipole = load_ase_file(path, "dipole")
    assert dipole.target.label == "dipole (e*Ang)"
    assert dipole.target.num_components == 3 and not dipole.target.extensive
    assert dipole.forces is None
    expected = [a.calc.results["dipole"] for a in atoms]
    np.testing.assert_allclose(dipole.y, expected, atol=1e-7)
    field = load_ase_file(path, "field", "V/Ang")
    np.testing.assert_allclose(field.y, [a.info["field"] for a in atoms], atol=1e-7)
    assert load_ase_file(path, "gap", "eV").forces is None


def test_forces_of_a_part_are_left_out(tmp_path):
    atoms = structures()
    atoms[1].calc = SinglePointCalculator(atoms[1], energy=-1.0)
    write(tmp_path / "a.traj", atoms)
    with pytest.warns(UserWarning, match=r"1 of the 4 structures .* have no forces"):
        molecules = load_ase_file(tmp_path / "a.traj")
    assert molecules.forces is None and molecules.y[1] == -1
    for a in atoms:
        a.calc = SinglePointCalculator(a, energy=0.0)
    write(tmp_path / "b.traj", atoms)
    assert load_ase_file(tmp_path / "b.traj").forces is None  # and no warning


def test_forces_among_the_arrays(tmp_path, monkeypatch):
    """As some readers leave them."""
    atoms = structures()
    for a in atoms:
        a.calc = SinglePointCalculator(a, energy=0.0)
        a.arrays["forces"] = a.positions.copy()
    (tmp_path / "a.traj").touch()
    monkeypatch.setattr(ase_file, "read_structures", lambda path: atoms)
    forces = load_ase_file(tmp_path / "a.traj").forces
    np.testing.assert_allclose(forces, np.concatenate([a.positions for a in atoms]))


def test_values_by_atom_are_no_vectors(tmp_path):
    """Water has three charges."""
    water = structures()[0]
    water.calc = SinglePointCalculator(water, energy=0.0, charges=[0.4, -0.2, -0.2])
    water.info.update(ragged=[[1, 2], [3]], flags=[True, False, True])
    write(tmp_path / "a.traj", [water])
    for name in ("charges", "ragged", "flags"):
        with pytest.raises(ValueError, match=r"There is: energy, gap$"):
            load_ase_file(tmp_path / "a.traj", name, "e")


def test_numbers_and_vectors_do_not_mix(tmp_path):
    atoms = structures()
    atoms[2].info["gap"] = np.ones(3)
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(ValueError, match=r"a number for some .* a vector for others"):
        load_ase_file(tmp_path / "a.traj", "gap", "eV")


def test_unit_must_be_stated(tmp_path):
    write(tmp_path / "a.xyz", structures())
    with pytest.raises(ValueError, match="unit: say in what unit 'gap'"):
        load_ase_file(tmp_path / "a.xyz", "gap")
    assert load_ase_file(tmp_path / "a.xyz", "gap", "kT", True).target.extensive


def test_units_that_do_not_exist(tmp_path):
    atoms = distorted("H2O", 0)
    write(tmp_path / "a.extxyz", atoms)
    with pytest.raises(ValueError, match=r"'evv' does not exist. Did you mean 'eV'"):
        load_ase_file(tmp_path / "a.extxyz", "energy", unit="evv")
    with pytest.raises(ValueError, match="unit of dipoles 'eV' does not exist"):
        load_ase_file(tmp_path / "a.extxyz", "dipole", unit="eV")
    assert load_ase_file(tmp_path / "a.extxyz", "dipole", unit="D").target.unit == "D"


def test_not_a_number(tmp_path):
    atoms = structures()
    atoms[1].info["gap"] = float("nan")
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(ValueError, match=r"NaN or infinite for 1 .* 'CH4'"):
        load_ase_file(tmp_path / "a.traj", "gap", "eV")


def test_periodic_structures_are_isolated_with_a_warning(tmp_path):
    crystal = bulk("Cu")
    crystal.info["gap"] = 0.0
    write(tmp_path / "a.xyz", [*structures(), crystal])
    with pytest.warns(UserWarning, match="1 of the 5 structures .* are periodic"):
        molecules = load_ase_file(tmp_path / "a.xyz", "gap", "eV")
    assert len(molecules[4].z) == 1


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither 'qm9' nor 'g2' nor a file"):
        load_ase_file(tmp_path / "none.xyz")
    (tmp_path / "bad.xyz").write_text("three\nfour\n")
    with pytest.raises(ValueError, match="ASE cannot read"):
        load_ase_file(tmp_path / "bad.xyz")
    (tmp_path / "bad.nonsense").write_text("three")
    with pytest.raises(ValueError, match="ASE cannot read"):
        load_ase_file(tmp_path / "bad.nonsense")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(ValueError, match=r"no structures|cannot read"):
        load_ase_file(tmp_path / "empty.xyz")


def test_arguments_of_other_datasets(tmp_path, qm9_folder):
    write(tmp_path / "a.traj", structures())
    assert len(load_molecules(str(tmp_path / "a.traj"), "energy")) == 4
    assert len(load_molecules("QM9", "homo", qm9_folder)) > 30
    with pytest.raises(ValueError, match="unit does not go with dataset 'g2'"):
        load_molecules("g2", "ZPE", unit="eV")
    with pytest.raises(ValueError, match="root does not go with dataset 'g2'"):
        load_molecules("g2", "ZPE", root=tmp_path)
    with pytest.raises(ValueError, match="root does not go with the file"):
        load_molecules(str(tmp_path / "a.traj"), "energy", root=tmp_path)
