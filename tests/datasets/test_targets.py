import pytest

from lieconv_pyg.datasets import QM9_TARGETS, Target, find_name, qm9_target


def test_order_is_that_of_pyg():
    names = [
        "mu",
        "alpha",
        "homo",
        "lumo",
        "gap",
        "r2",
        "zpve",
        "U0",
        "U",
        "H",
        "G",
        "Cv",
    ]
    assert list(QM9_TARGETS) == names
    assert [t.column for t in QM9_TARGETS.values()] == list(range(12))


def test_units():
    units = {name: target.unit for name, target in QM9_TARGETS.items()}
    energies = {"homo", "lumo", "gap", "zpve", "U0", "U", "H", "G"}
    for name in energies:
        assert units.pop(name) == "meV"
        assert QM9_TARGETS[name].stored_unit == "eV"
        assert QM9_TARGETS[name].factor == 1000
    assert units == {
        "mu": "D",
        "alpha": "bohr^3",
        "r2": "bohr^2",
        "Cv": "cal/(mol K)",
    }


def test_references_as_published():
    referenced = {n for n, t in QM9_TARGETS.items() if t.referenced}
    assert referenced == {"zpve", "U0", "U", "H", "G", "Cv"}
    assert all(t.extensive for t in QM9_TARGETS.values() if t.referenced)
    assert not QM9_TARGETS["homo"].extensive


def test_names_in_any_case():
    assert qm9_target("HOMO").name == "homo"
    assert qm9_target("u0").name == "U0"
    assert qm9_target("CV").name == "Cv"


def test_nearest_name_is_offered():
    with pytest.raises(ValueError, match=r"'hommo'.*Did you mean 'homo'.*alpha, homo"):
        qm9_target("hommo")
    with pytest.raises(TypeError, match="must be a name"):
        qm9_target(3)


def test_find_name():
    names = ["ionization_energy", "energy", "Energy"]
    assert find_name("ionisation energy", names) == "ionization_energy"
    assert find_name("energy", names) == "energy"  # exactly that one
    with pytest.raises(ValueError, match="does not exist"):
        find_name("ENERGY", names)  # two are meant
    with pytest.raises(ValueError, match="There is: none"):
        find_name("energy", [])


def test_label():
    assert Target("gap", "eV").label == "gap (eV)"
    assert Target("score", "").label == "score"


def test_number_of_components():
    assert Target("dipole", "D", num_components=3).num_components == 3
    assert {t.num_components for t in QM9_TARGETS.values()} == {1}
    with pytest.raises(ValueError, match="num_components must be 1"):
        Target("dipole", "D", num_components=2)
