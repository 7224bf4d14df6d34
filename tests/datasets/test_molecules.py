import pytest
import torch
from torch_geometric.loader import DataLoader

from lieconv_pyg.datasets import Molecules, Target


@pytest.fixture
def waters():
    return {
        "z": torch.tensor([8, 1, 1, 2, 8, 1]),
        "pos": torch.arange(18.0).view(6, 3),
        "num_atoms": torch.tensor([3, 1, 2]),
        "y": torch.tensor([1.0, 2.0, 3.0]),
        "names": ["water", "helium", "hydroxyl"],
        "target": Target("energy", "eV", True),
    }


def test_items(waters):
    molecules = Molecules(**waters)
    assert len(molecules) == 3
    assert str(molecules) == "Molecules(3, energy (eV))"
    data = molecules[2]
    assert data.z.tolist() == [8, 1]
    assert data.pos.tolist() == waters["pos"][4:].tolist()
    assert data.y.tolist() == [[3.0]]
    assert data.y.dtype == torch.float64
    assert data.name == "hydroxyl"
    assert [d.name for d in molecules] == waters["names"]


def test_batches(waters):
    batch = next(iter(DataLoader(Molecules(**waters), batch_size=3)))
    assert batch.batch.tolist() == [0, 0, 0, 1, 2, 2]
    assert batch.y.shape == (3, 1)


def test_select(waters):
    chosen = Molecules(**waters).select([2, 0])
    assert chosen.names == ["hydroxyl", "water"]
    assert chosen[1].z.tolist() == [8, 1, 1]
    assert chosen.y.tolist() == [3.0, 1.0]


def test_composition(waters):
    molecules = Molecules(**waters)
    count = molecules.composition()
    assert count.shape == (3, 119)
    assert count[:, [1, 2, 8]].tolist() == [[2, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert count.sum() == 6
    assert molecules.elements() == [1, 2, 8]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("z", torch.tensor([8, 1, 1, 0, 8, 1]), "atomic numbers"),
        ("z", torch.tensor([8, 1, 1]), "must have 6 rows"),
        ("pos", torch.full((6, 3), float("nan")), "NaN or infinite"),
        ("y", torch.tensor([1.0, float("inf"), 2.0]), "'helium'"),
        ("y", torch.tensor([1.0]), "must have 3 entries"),
        ("num_atoms", torch.tensor([3, 0, 3]), "no atoms"),
    ],
)
def test_bad_input(waters, key, value, message):
    with pytest.raises(ValueError, match=message):
        Molecules(**{**waters, key: value})


VECTOR = Target("dipole", "D", num_components=3)


def test_vectors_and_forces(waters):
    """Vectors are (1, 3) and forces (N, 3), and stay with their molecule."""
    forces = torch.arange(18.0, dtype=torch.float64).view(6, 3) + 1e-12
    molecules = Molecules(**waters, forces=forces)
    assert str(molecules) == "Molecules(3, energy (eV), with forces)"
    chosen = molecules.select([2, 0])
    assert chosen[0].forces.equal(forces[4:]) and chosen[1].forces.equal(forces[:3])
    batch = next(iter(DataLoader(chosen, batch_size=2)))
    assert batch.forces.equal(torch.cat([forces[4:], forces[:3]]))  # in float64
    assert "forces" not in Molecules(**waters)[0]

    dipoles = torch.arange(9.0).view(3, 3)
    molecules = Molecules(**{**waters, "y": dipoles, "target": VECTOR})
    assert molecules[1].y.tolist() == [[3, 4, 5]]
    assert molecules.select([2])[0].y.tolist() == [[6, 7, 8]]
    assert next(iter(DataLoader(molecules, batch_size=3))).y.shape == (3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forces": torch.zeros(5, 3)}, r"forces must be of shape \(6, 3\)"),
        (
            {"forces": torch.zeros(6, 3).index_fill_(0, torch.tensor(3), torch.nan)},
            "a force is NaN or infinite for 1 molecules, the first of them 'helium'",
        ),
        ({"y": torch.zeros(3, 3)}, "must have 3 entries, one"),
        ({"target": VECTOR}, "must have 3 entries of 3 components"),
        (
            {"target": VECTOR, "y": torch.zeros(3, 3), "forces": torch.zeros(6, 3)},
            "neither references nor forces",
        ),
        (
            {"target": VECTOR, "y": torch.zeros(3, 3), "references": torch.zeros(119)},
            "neither references nor forces",
        ),
        ({"target": VECTOR, "y": torch.eye(3) / torch.eye(3)}, "for 3 .* 'water'"),
    ],
)
def test_bad_vectors_and_forces(waters, changes, message):
    with pytest.raises(ValueError, match=message):
        Molecules(**{**waters, **changes})
