import pytest
from ase.data.g2 import data as table

from lieconv_pyg.datasets import G2_TARGETS, load_g2


@pytest.mark.parametrize(
    ("name", "number", "unit"),
    [
        ("ZPE", 148, "kcal/mol"),
        ("enthalpy", 148, "kcal/mol"),
        ("ionization_energy", 68, "eV"),
        ("vertical_ionization_energy", 34, "eV"),
    ],
)
def test_targets(name, number, unit):
    molecules = load_g2(name)
    assert len(molecules) == number
    assert molecules.target.unit == unit
    assert molecules.references is None
    assert len(molecules.elements()) == (14 if number > 34 else 10)
    key, _ = G2_TARGETS[name]
    for data in molecules:
        assert data.y.item() == table[data.name][key]
        assert data.pos.tolist() == pytest.approx(
            [pytest.approx(p) for p in table[data.name]["positions"]]
        )


def test_known_values():
    zpe = load_g2("zpe")
    assert zpe.y[zpe.names.index("CH4")] == 27.6744
    ionization = load_g2("ionisation energy")
    assert ionization.y[ionization.names.index("H")] == 13.60


def test_single_atoms_have_no_enthalpy_at_room_temperature():
    assert load_g2("enthalpy").num_atoms.min() == 2
    assert load_g2("ionization energy").num_atoms.min() == 1


def test_unknown_target():
    with pytest.raises(ValueError, match="Did you mean 'enthalpy'"):
        load_g2("entalpy")
