import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import read, write

import lieconv_pyg
from lieconv_pyg.cli import fit, main
from lieconv_pyg.nn.graph_net import GraphNet
from lieconv_pyg.predict import predict, predict_structures
from tests.molecules import distorted
from tests.runs import TINY, TINY_DATA, empty_folder

__all__ = ["empty_folder"]
NAMES = ["H2O", "CH4", "CO2", "C2H6", "N2"]


@pytest.fixture(scope="module")
def zpe(tmp_path_factory):
    """The checkpoint of a model for zero-point energies, in kcal/mol."""
    folder = tmp_path_factory.mktemp("zpe") / "run"
    return fit([*TINY, f"--output={folder}"], table=False).checkpoint


def emt_file(path, num=40):
    """Energies and forces of a made-up potential for distorted molecules."""
    frames = [distorted(["H2O", "CH4"][i % 2], i, 0.05) for i in range(num)]
    write(path, frames)
    return frames


@pytest.fixture(scope="module")
def emt(tmp_path_factory):
    """The run of a model that was trained on energies and forces."""
    folder = tmp_path_factory.mktemp("emt")
    emt_file(folder / "emt.extxyz")
    args = [
        f"--data.dataset={folder / 'emt.extxyz'}",
        "--data.target=energy",
        "--data.batch_size=8",
        *TINY_DATA[-2:],
        "--model.network=lieconv",
        "--model.network.init_args.group=lieconv_pyg.groups.T",
        "--model.network.init_args.group.n=3",
        "--model.network.init_args.hidden_channels=8",
        "--model.network.init_args.num_layers=1",
        "--model.network.init_args.norm=null",
        "--model.network.init_args.radius=0.9",
        "--model.network.init_args.envelope=true",
        "--model.force_weight=1",
    ]
    return fit([*args, f"--output={folder / 'run'}"], table=False)


def rows(path):
    with Path(path).open() as file:
        return list(csv.reader(file))


def test_csv_needs_nothing_but_the_checkpoint(zpe, empty_folder, capsys):
    write("some.extxyz", [molecule(name) for name in NAMES])
    assert main(["predict", f"--ckpt_path={zpe}", "--data=some.extxyz"]) == 0
    assert capsys.readouterr().out == "wrote    some_ZPE.csv\n"
    assert sorted(p.name for p in Path().iterdir()) == ["some.extxyz", "some_ZPE.csv"]
    head, *found = rows("some_ZPE.csv")
    assert head == ["name", "ZPE (kcal/mol)"]
    assert [row[0] for row in found][:2] == ["H2O_0", "CH4_1"]
    model = lieconv_pyg.load(zpe)
    for name, row in zip(NAMES, found, strict=True):
        atoms = molecule(name)
        z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions)
        assert float(row[1]) == pytest.approx(model(z, pos.float()).item(), rel=1e-5)


@pytest.mark.parametrize("data", ["a.traj", "a.db", "a.json", "a.xyz", "POSCAR"])
@pytest.mark.parametrize("output", ["b.extxyz", "b.traj", "b.db", "b.json"])
def test_formats(zpe, empty_folder, data, output):
    frames = [molecule(name) for name in (["H2O"] if data == "POSCAR" else NAMES)]
    for atoms in frames:
        atoms.center(vacuum=3)
    write(data, frames)
    with pytest.MonkeyPatch.context() as patch:
        if data == "POSCAR":
            patch.setattr("lieconv_pyg.datasets.structures.warn_of_periodic", list)
        written = predict(str(zpe), data, output)
    assert [p.name for p in written] == [output, "b.csv"]
    table = [float(row[1]) for row in rows("b.csv")[1:]]
    again = lieconv_pyg.datasets.read_structures(output)
    assert [a.info["ZPE"] for a in again] == pytest.approx(table)
    assert {a.info["ZPE_unit"] for a in again} == {"kcal/mol"}
    assert [len(a) for a in again] == [len(a) for a in frames]


def test_format_that_holds_no_values(zpe, empty_folder, capsys):
    write("a.xyz", molecule("H2O"))
    assert predict(str(zpe), "a.xyz", "b.pdb") == [Path("b.pdb"), Path("b.csv")]
    assert "b.pdb: its format does not hold the values" in capsys.readouterr().err
    assert len(rows("b.csv")) == 2


def test_index_and_batches(zpe, empty_folder):
    write("a.extxyz", [molecule(name) for name in NAMES])
    predict(str(zpe), "a.extxyz", "all.csv", batch_size=2)
    predict(str(zpe), "a.extxyz", "some.csv", index="1:3")
    whole, some = rows("all.csv")[1:], rows("some.csv")[1:]
    values = [float(row[1]) for row in whole]
    assert [float(row[1]) for row in some] == pytest.approx(values[1:3], rel=1e-5)


def test_trained_forces(emt, empty_folder):
    assert emt.predictions.force_mae > 0
    data = emt.folder.parent / "emt.extxyz"
    predict(str(emt.checkpoint), str(data), "out.extxyz")
    model = lieconv_pyg.load(emt.checkpoint)
    assert model.force_weight == 1
    atoms = read("out.extxyz", index=5)
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions).float()
    pos.requires_grad_()
    energy = model(z, pos)
    assert atoms.get_potential_energy() == pytest.approx(energy.item(), rel=1e-5)
    wanted = model.forces(energy, pos)
    np.testing.assert_allclose(atoms.get_forces(), wanted, atol=1e-4)
    values = predict_structures(model, [atoms], forces=False)
    assert values.forces is None and values.values.shape == (1,)


def test_config(zpe, empty_folder):
    write("a.xyz", molecule("H2O"))
    Path("p.yaml").write_text(f"ckpt_path: {zpe}\ndata: a.xyz\noutput: c.csv\n")
    assert main(["predict", "--config=p.yaml"]) == 0
    assert Path("c.csv").is_file()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data=none.xyz"], "no file none.xyz"),
        (["--data=bad.xyz"], "ASE cannot read bad.xyz"),
        (["--data=u.xyz"], "not built for the atomic numbers [92]"),
        (["--data=a.xyz", "--ckpt_path=none.ckpt"], "no file none.ckpt"),
        (["--data=a.xyz", "--output=a.xyz"], "a.xyz exists"),
        (["--data=a.xyz", "--output=no/b.xyz"], "no folder no"),
        (["--data=a.xyz", "--batch_size=0"], "batch_size must be at least 1"),
        (["--data=a.xyz", "--colour=red"], "colour"),
        (["--data=a.xyz", "--index=x"], "a.xyz"),
        (["--data=a.xyz", "--index=7:"], "no structures at index 7:"),
        (["--data=a.xyz", "--forces=true"], "a CSV file has no place for them"),
        (["--data=a.xyz", "--device=tpu"], "device 'tpu' cannot be used"),
        (["--data=a.xyz", "--output=b.none"], "none"),
        (["--data=a.xyz", "--ckpt_path=."], "name its checkpoints/best.ckpt"),
        (["--data=a.xyz", "--ckpt_path=a.xyz"], "a.xyz is not a whole checkpoint"),
        ([], "data"),
    ],
)
def test_errors(emt, empty_folder, args, message, capsys):
    write("a.xyz", molecule("H2O"))
    write("u.xyz", molecule("H2O"))
    Path("u.xyz").write_text(Path("u.xyz").read_text().replace("O ", "U "))
    Path("bad.xyz").write_text("3\nno structure")
    before = sorted(p.name for p in Path().iterdir())
    assert main(["predict", f"--ckpt_path={emt.checkpoint}", *args]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert err.startswith("lieconv: error: ") and err.count("\n") == 1
    assert sorted(p.name for p in Path().iterdir()) == before


def test_what_is_no_energy_has_no_forces(zpe, empty_folder, capsys):
    write("a.xyz", molecule("H2O"))
    args = ["predict", f"--ckpt_path={zpe}", "--data=a.xyz", "--output=b.extxyz"]
    assert main([*args, "--forces=true"]) == 2
    assert "ZPE (kcal/mol) is not a potential energy" in capsys.readouterr().err
    assert main(args) == 0
    assert "forces" not in Path("b.extxyz").read_text()


def test_trust_of_one_package(zpe, empty_folder, capsys):
    content = torch.load(zpe, weights_only=True)
    network = content["hyper_parameters"]["network"]
    network["class_path"] = f"{__name__}.Own"
    torch.save(content, "own.ckpt")
    write("a.xyz", molecule("H2O"))
    args = ["predict", "--ckpt_path=own.ckpt", "--data=a.xyz"]
    assert main(args) == 2
    assert "trust 'tests'" in capsys.readouterr().err
    assert main([*args, "--trust", "tests"]) == 0
    assert main([*args, "--trust=[tests]", "--overwrite=true"]) == 0


class Own(GraphNet):
    """A network of the user's."""


def test_help_names_it(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "predict" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["predict", "--help"])
    assert "--ckpt_path" in capsys.readouterr().out
