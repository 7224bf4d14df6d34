import pytest
import torch
from ase.build import molecule
from ase.io import write

from lieconv_pyg.datasets import load_qm9, qm9_split, target_statistics
from lieconv_pyg.training import MoleculeDataModule
from tests.qm9_files import made_up_qm9


def test_parts_and_loaders(data):
    data.setup()
    assert [len(p) for p in data.parts] == [20, 7, 9]
    sizes = [
        [batch.num_graphs for batch in loader]
        for loader in (
            data.train_dataloader(),
            data.val_dataloader(),
            data.test_dataloader(),
        )
    ]
    # Only training leaves out a partial batch.
    assert sizes == [[8, 8], [7], [8, 1]]
    names = [name for batch in data.test_dataloader() for name in batch.name]
    assert names == data.parts[2].names
    shuffled = [name for batch in data.train_dataloader() for name in batch.name]
    assert shuffled != data.parts[0].names[:16]
    every = [n for p in data.parts for n in p.names]
    assert len(set(every)) == 36


def test_statistics_are_of_the_training_part(data):
    expected = target_statistics(data.parts[0])
    assert data.statistics.median == expected.median
    assert data.statistics.kind == "fit"
    assert "fitted element references" in data.describe()
    assert "20 training, 7 validation and 9 test" in data.describe()
    plain = MoleculeDataModule("g2", "ZPE", references="none", batch_size=8)
    assert plain.statistics.kind == "none"
    assert not plain.statistics.references.any()


def test_calibration_batch_is_the_same_every_time(data):
    first, second = data.calibration_batch(), data.calibration_batch()
    assert first.pos.equal(second.pos)
    assert first.num_graphs == 20
    assert first.name == data.parts[0].names
    assert data.calibration_batch(3).num_graphs == 3


def test_qm9_has_its_split_and_references(tmp_path):
    root = made_up_qm9(tmp_path / "QM9")
    data = MoleculeDataModule(
        "qm9", "U0", str(root), batch_size=4, references="dataset"
    )
    data.prepare_data()
    all_names = load_qm9("U0", root).names
    split = qm9_split(len(all_names))
    for part, index in zip(data.parts, split, strict=True):
        assert part.names == [all_names[i] for i in index]
    assert data.statistics.kind == "dataset"
    assert data.target.unit == "meV"
    assert data.elements() == [1, 6, 7, 8, 9]


def test_file(tmp_path):
    atoms = []
    for i, name in enumerate(["H2O", "CH4", "NH3", "C2H6", "HF"] * 4):
        atoms.append(molecule(name))
        atoms[-1].info["gap"] = 1.0 + i
    path = tmp_path / "a.xyz"
    write(path, atoms)
    data = MoleculeDataModule(
        str(path), "gap", unit="eV", fractions=[0.5, 0.25, 0.25], batch_size=2
    )
    assert [len(p) for p in data.parts] == [10, 5, 5]
    assert data.statistics.kind == "none"
    assert torch.cat([p.y for p in data.parts]).sum() == sum(range(1, 21))


def test_bad_arguments():
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        MoleculeDataModule(batch_size=0)
    with pytest.raises(ValueError, match="batch_size 99 is more than the 20"):
        MoleculeDataModule("g2", "ZPE", limit=[20, 7, 9], batch_size=99).setup()
    with pytest.raises(ValueError, match="limit"):
        MoleculeDataModule("g2", "ZPE", limit=[1, 2]).setup()
    with pytest.raises(ValueError, match="fractions"):
        MoleculeDataModule("g2", "ZPE", fractions=[0.5, 0.6, 0.1]).setup()
