import pytest
from ase import units

from lieconv_pyg.datasets import (
    QM9_TARGETS,
    Target,
    dipole_factor,
    energy_factor,
    is_dipole,
    is_energy,
)


@pytest.mark.parametrize(
    ("unit", "in_ev"),
    [
        ("eV", 1.0),
        ("meV", 1e-3),
        ("Ha", units.Hartree),
        ("hartree", units.Hartree),
        ("mHa", units.Hartree / 1000),
        ("kcal/mol", 0.0433641),
        ("kJ / mol", 0.01036427),
        ("Ry", units.Hartree / 2),
        ("cm^-1", 1.239842e-4),
        ("cm-1", 1.239842e-4),
        ("cm⁻¹", 1.239842e-4),
    ],
)
def test_energies(unit, in_ev):
    assert energy_factor(unit) == pytest.approx(in_ev, rel=1e-5)
    assert is_energy(Target("energy", unit))
    assert not is_energy(Target("energy", unit, num_components=3))


@pytest.mark.parametrize(
    ("unit", "in_e_ang"),
    [
        ("D", 0.2081943),
        ("debye", 0.2081943),
        ("e*a0", units.Bohr),
        *[(unit, 1.0) for unit in ("e*Ang", "e*Å", "e·Å", "e Å", "e*A", "eÅ")],
    ],
)
def test_dipoles(unit, in_e_ang):
    assert dipole_factor(unit) == pytest.approx(in_e_ang, rel=1e-5)
    assert is_dipole(Target("dipole", unit, num_components=3))
    assert not is_dipole(Target("dipole", unit))


def test_nearest_name():
    with pytest.raises(ValueError, match=r"'kcal' .* Did you mean 'kcal/mol'.*eV, meV"):
        energy_factor("kcal")
    with pytest.raises(ValueError, match=r"'MeV' .* Did you mean 'meV'"):
        energy_factor("MeV")  # a million, not a thousandth
    with pytest.raises(ValueError, match=r"There is: e\*Ang, D, e\*a0"):
        dipole_factor("bohr")
    with pytest.raises(TypeError, match="must be a name"):
        energy_factor(None)
    energies = {name for name, target in QM9_TARGETS.items() if is_energy(target)}
    assert energies == {"homo", "lumo", "gap", "zpve", "U0", "U", "H", "G"}
