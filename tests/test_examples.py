"""The programs in ``examples/``, on a few molecules."""

import csv
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

from lieconv_pyg.discovery import two_body_orbits
from tests.datasets.test_rotmnist import mnist
from tests.molecules import distorted
from tests.qm9_files import made_up_qm9
from tests.runs import EXAMPLES, empty_folder

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")
BRIEF = ["--trainer.max_epochs=1", "--data.batch_size=4"]


@pytest.fixture
def example(monkeypatch, capsys):
    """Runs an example; what it prints."""

    def run(name, *args):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, args)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_demo(example):
    out = example("demo", "--epochs=1", "--output=demo")
    table = out[out.index("test error") :]
    for row in ("MoleculeLieResNet T(3)", "GraphNet", "mean of the training"):
        assert row in table
    assert "kcal/mol" in table
    for line in out.splitlines()[-3:]:
        assert Path(line.split()[-1]).is_file()
    assert out.splitlines()[-1].endswith("demo/lieconv/checkpoints/best.ckpt")


def test_demo_says_what_is_wrong(example, tmp_path):
    with pytest.raises(SystemExit, match=r"--qm9: .* folder none"):
        example("demo", "--qm9=none")
    assert list(tmp_path.iterdir()) == []


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_compare_qm9(example, tmp_path):
    made_up_qm9(tmp_path / "QM9")
    given = ["--qm9=QM9", "--molecules", 24, 4, 4, "--data.batch_size=8"]
    out = example(
        "compare_qm9", *given, "--epochs=1", "--networks", "lieconv", "egnn",
        "--targets", "homo", "U0", "--output=out",
    )  # fmt: skip
    tables = (tmp_path / "out" / "tables.md").read_text()
    homo, energy = tables.strip().split("\n\nU0")
    assert homo in out and energy in out
    rows = [cells(line) for line in homo.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [6] * len(rows)
    assert rows[0][4] == "test MAE (meV)"
    by_name = {row[0]: row for row in rows}
    assert by_name["MoleculeLieResNet T(3)"][-1] == "30 (100,000)"
    assert by_name["EGNN"][-1] == "29 (100,000)"
    assert int(by_name["EGNN"][1].replace(",", "")) > 50_000
    assert by_name["EGNN"][2] == "1" and float(by_name["EGNN"][3]) >= 0
    assert "mean of the training molecules" in by_name
    # What the table says of a network is the error over its predictions.
    with (tmp_path / "out" / "homo" / "egnn" / "run" / "predictions.csv").open() as f:
        table = list(csv.DictReader(f))
    errors = [
        abs(float(r["prediction (meV)"]) - float(r["target (meV)"])) for r in table
    ]
    assert len(errors) == 4
    assert by_name["EGNN"][4].split(" ± ")[0] == f"{np.mean(errors):,.0f}"
    # Extensive targets are sums over atoms, without further arguments.
    assert "| 19 (100,000) |" in energy
    config = (tmp_path / "out" / "U0" / "lieconv" / "run" / "config.yaml").read_text()
    assert "pool: sum" in config


def test_compare_qm9_by_time(example, tmp_path):
    made_up_qm9(tmp_path / "QM9")
    given = ["--qm9=QM9", "--molecules", 24, 4, 4, "--networks", "egnn"]
    given.append("--data.batch_size=8")
    out = example("compare_qm9", *given, "--minutes=0.02", "--output=out")
    (epochs,) = re.findall(r"egnn on homo: (\d+) epochs", out)
    (row,) = (line for line in out.splitlines() if line.startswith("| EGNN"))
    assert cells(row)[2] == epochs
    assert int(epochs) >= 1
    with pytest.raises(SystemExit, match=r"HOMO is none of mu, alpha, homo"):
        example("compare_qm9", "--qm9=QM9", "--targets", "HOMO")
    with pytest.raises(SystemExit, match=r"QM9 is not in none: give --qm9"):
        example("compare_qm9", "--qm9=none")


def test_md17(example):
    data = [distorted("CH3CH2OH", seed) for seed in range(40)]
    arrays = {
        "z": data[0].numbers,
        "R": np.stack([atoms.positions for atoms in data]),
        "E": np.array([atoms.get_potential_energy() for atoms in data]),
        "F": np.stack([atoms.get_forces() for atoms in data]),
    }
    np.savez("ethanol.npz", **arrays)
    given = ["--data=ethanol.npz", "--unit=eV", "--steps=20", "--output=out"]
    out = example("md17", *given, *BRIEF, "--data.limit=[12,2,4]")
    assert "force MAE (eV/Å)" in out
    (error,) = re.findall(r"finite differences: (\S+) eV/Å", out)
    assert 0 <= float(error) < 1e-6
    (worst,) = re.findall(r"at most (\S+) meV per atom", out)
    rows = np.loadtxt("out/nve.csv", delimiter=",", skiprows=1)
    assert rows.shape == (21, 4)
    np.testing.assert_allclose(rows[:, 0], 0.5 * np.arange(21))
    np.testing.assert_allclose(rows[:, 1], rows[:, 2] + rows[:, 3], atol=1e-8)
    change = 1000 * np.abs(rows[:, 1] - rows[0, 1]).max() / 9
    assert float(worst) == pytest.approx(change, rel=0.05)
    # The total energy is kept far better than the kinetic energy, which moves.
    assert change < 0.05 * 1000 * np.ptp(rows[:, 3]) / 9
    assert len(read("out/nve.traj", ":")) == 3
    assert Path("out/nve.png").stat().st_size > 10_000
    checkpoint = out.splitlines()[-1].split()[1].strip(",")

    # With a checkpoint nothing is trained.
    again = example("md17", *given[:3], f"--ckpt_path={checkpoint}", "--output=again")
    assert "training" not in again
    assert np.allclose(np.loadtxt("again/nve.csv", delimiter=",", skiprows=1), rows)
    with pytest.raises(SystemExit, match=r"md17: error: .*say in what unit"):
        example("md17", "--data=ethanol.npz", "--output=third")


@pytest.mark.parametrize("kind", ["arrays", "extxyz"])
def test_dipole(example, kind):
    data = [distorted("CH3CH2OH", seed) for seed in range(20)]
    if kind == "extxyz":
        write("dipoles.extxyz", data)
    else:
        dipoles = np.stack([atoms.get_dipole_moment() for atoms in data])
        norms = np.linalg.norm(dipoles, axis=1, keepdims=True)
        np.savez(
            "dipoles.npz",
            num_atoms=[9] * 20,
            z=np.concatenate([atoms.numbers for atoms in data]),
            pos=np.concatenate([atoms.positions for atoms in data]),
            y=np.hstack([norms, dipoles]) / 0.529177210903,
            y_names=["dipole_norm", "dipole_x", "dipole_y", "dipole_z"],
        )
    file = "dipoles.extxyz" if kind == "extxyz" else "dipoles.npz"
    given = [f"--data={file}", "--output=out", *BRIEF, "--data.limit=[12,2,2]"]
    out = example("dipole", *given)
    assert "MAE (e*Ang)" in out
    (error, size) = re.findall(r"differ by (\S+) .* of (\S+) e\*Ang in the mean", out)[
        0
    ]
    assert 0 <= float(error) < 1e-9 * float(size)
    if kind == "arrays":
        read_back = read("out/dipoles.extxyz", ":")
        for one, other in zip(read_back, data, strict=True):
            np.testing.assert_allclose(
                one.get_dipole_moment(), other.get_dipole_moment(), atol=1e-6
            )


def test_springs(example, tmp_path):
    out = example(
        *("springs", "--networks", "HFC", "FC", "--center", 1, 0, "--train", 10, 8),
        *("--test", 4, "--epochs", 1, "--rollouts", 2, "--data", tmp_path),
        *("--output", "springs", "--trainer.accelerator=cpu", "--data.num_states=40"),
    )
    assert out.count("tested   the best epoch") == 8
    out = out[out.index("| network") :]
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")]
    assert [row[0][2:] for row in rows[1:]] == [
        *("HFC", "FC", "HFC, not centred", "FC, not centred", "free motion")
    ]
    rows.pop()
    keeps = [float(row[4]) < 1e-9 for row in rows[1:]]
    assert keeps == [True, False, False, False]
    assert all(float(row[2]) < 10 and row[6] == "0 of 2" for row in rows[1:])
    for name in (
        *("rollouts.png", "trajectories.png", "trajectories.gif", "results.md"),
        *("data_efficiency.png", "data_efficiency.md"),
    ):
        assert Path("springs", name).stat().st_size > 100


def test_springs_of_other_numbers_of_particles(example, tmp_path):
    args = [
        *("springs", "--networks", "OGN", "--particles", 3, "--train", 10, "--test", 4),
        *("--epochs", 1, "--rollouts", 0, "--data", tmp_path, "--output", "springs"),
        *("--trainer.accelerator=cpu", "--data.num_states=20"),
    ]
    out = example(*args)
    assert "| test MSE | 6 particles | 3 |" in out
    # What is there goes on, which here is only tested again.
    again = example(*args)
    assert again[again.index("| test MSE") :] == out[out.index("| test MSE") :]
    assert Path("springs/OGN-10-0/logs/version_1").exists()


def test_springs_says_what_is_wrong(example, capsys):
    with pytest.raises(SystemExit):
        example("springs", "--networks", "T5")
    assert "no network is called 'T5': take Trivial, T2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example("springs", "--networks", "FC", "--particles", 4)
    assert "FC are for six particles only" in capsys.readouterr().err


def test_lifts(example):
    out = example("lifts", "--output=out", "--digit=5").split()
    assert [Path(name).stat().st_size > 20_000 for name in out] == [True, True]
    with pytest.raises(SystemExit):
        example("lifts", "--digit=10")


def test_rotmnist(example, tmp_path):
    args = [
        *("rotmnist", "--groups", "T2", "SO2", "--training", "upright", "--images", 20),
        *(
            "--epochs",
            1,
            "--output",
            "out",
            "--data.num_train=60",
            "--data.num_test=40",
        ),
        *("--data.num_valid=20", "--model.network.hidden_channels=8"),
    ]
    out = example(*args)
    table = out[out.index("| group") :]
    assert [row.split(" | ")[0] for row in table.splitlines()[2:4]] == ["| T2", "| SO2"]
    assert re.search(r"\| T2 \| [\d.]+ ± [\d.]+ % \| 0\.\d{3} \| 0\.\d{3} \|", table)
    assert Path("out/results.md").read_text() in out
    assert Path("out/rotations.png").stat().st_size > 10_000
    assert not Path("out/T2-rotated-0").exists()
    assert example(*args)[-len(table) :] == table  # goes on, where nothing is left
    with pytest.raises(SystemExit, match="RotMNIST is not in"):
        example(*args, "--root=none")


def test_rotmnist_of_mnist(example, tmp_path):
    mnist(tmp_path / "digits" / "raw")
    out = example(
        *("rotmnist", "--root=digits", "--groups", "SE2", "--training", "rotated"),
        *("--output=out", "--data.num_valid=4", "--data.num_test=5", "--images=4"),
        *("--trainer.max_epochs=1", "--data.crop=0.6", "--data.batch_size=4"),
        *("--model.network.hidden_channels=8", "--seeds", 0, 1),
    )
    assert "| SE2 |" in out and "nan" not in out


def test_two_body(example, tmp_path):
    """A run, of which nothing is computed again."""
    orbits = two_body_orbits(24, "plane").numpy()
    columns = np.argsort([0, 2, 4, 6, 1, 3, 5, 7])
    files = {"coords": orbits[:16, :, columns], "test_coords": orbits[16:, :, columns]}
    np.savez(tmp_path / "orbits.npz", **files)
    given = ["--root=orbits.npz", "--output=out", "--discovery-epochs=1", "--steps=2"]
    given += ["--seeds", 0, 1]
    out = example("two_body", *given, "--batch-size", 16)
    table = Path("out/results.md").read_text()
    assert table in out and "9.45e-6 (EMLP)" in table and "not found" in table
    rows = {
        cells(line)[0]: cells(line)[1:] for line in table.splitlines() if "|" in line
    }
    assert re.fullmatch(r"\S+ \(\S+ to \S+\)", rows["LieResNet, true group"][1])
    assert {p.name for p in Path("out").iterdir()} == {
        *("results.md", "bases.png", "half_planes-0.json", "half_planes-1.json"),
        *("random-0.json", "random-1.json"),
    }
    before = Path("out/random-1.json").read_text()
    again = example("two_body", *given, "--batch-size", 16)
    assert "seed 0" not in again and Path("out/random-1.json").read_text() == before
    with pytest.raises(SystemExit):
        example("two_body", "--root=none.npz")


def test_msr(example):
    out = example(
        *("msr", "--tasks", "rank2", "convolution", "--steps=3", "--train=40"),
        *("--test=9", "--size=4", "--output=out"),
    )
    table = out[out.index("| mean square error") :]
    rows = [cells(line) for line in table.splitlines() if line.startswith("| ")]
    assert rows[0][1:] == ["rank2", "convolution"]
    assert [row[0] for row in rows[1:]] == [
        *("MSR", "MSR from the true sharing", "MAML, dense", "MAML, convolution"),
        *("MAML, locally connected", "zero for everything"),
    ]
    for row in rows[1:-1]:
        assert all(re.fullmatch(r"\d\.\d{3} ± \d\.\d{3}", cell) for cell in row[1:])
    assert "MSR on rank2: 4 patterns, 6 true ones, coverage 0.0" in table
    truth = r"MSR from the true sharing on convolution: 3 patterns, 3 true .* 0\.99"
    assert re.search(truth, table)
    assert Path("out/results.md").read_text() in out
    for name in ("losses.png", "sharing.png"):
        assert Path("out", name).stat().st_size > 10_000
    with pytest.raises(SystemExit, match="msr: error: 'batch_size' 32 is more than"):
        example("msr", "--train=4")
    with pytest.raises(SystemExit, match="msr: error: the loss is not finite"):
        example("msr", "--lr=1e30", "--steps=3", "--train=32", "--models=MSR")
    with pytest.raises(SystemExit) as stopped:
        example("msr", "--size=0")
    assert stopped.value.code == 2


def test_msr_of_one_problem_named_twice(example):
    given = ("--tasks", "rank2", "rank2", "--models", "dense", "dense", "--steps=1")
    out = example("msr", *given, "--train=32", "--test=2")
    table = [cells(line) for line in out.splitlines() if line.startswith("| ")]
    assert [len(row) for row in table] == [2, 2, 2]


@pytest.mark.parametrize("data,dials", [("inertia", (0, 0.3)), ("pendulum", (0.3,))])
def test_soft_symmetry(example, data, dials):
    args = [
        *("soft_symmetry", "--data", data, "--dial", *dials, "--seeds", 0),
        *("--num", 20, "--epochs", 2, "--batch-size", 10, "--hidden", 8),
    ]
    out = example(*args)
    table = out[out.index("| test error") :]
    folder = Path("runs/soft_symmetry") / data
    assert (folder / "results.md").read_text() in out
    assert (folder / "soft_symmetry.png").stat().st_size > 10_000
    files = sorted(folder.glob("*.json"))
    results = {file.stem: json.loads(file.read_text())["result"] for file in files}
    kinds = ("RPP", "exact", "free", "relaxed")
    names = [f"{kind}-{dial}-0" for kind in kinds for dial in dials]
    assert list(results) == names
    for name, result in results.items():
        assert 0 < result["test"] < 3
        assert (result["equivariance"] < 1e-5) == name.startswith("exact")
        assert (result["data"] < 1e-5) == name.endswith("-0-0")
        assert f"{result['equivariance']:.2g}" in table
    assert results["relaxed-0.3-0"]["parameters"] > results["exact-0.3-0"]["parameters"]

    written = [file.stat().st_mtime_ns for file in files]
    again = example(*args)
    assert again.strip() == table.strip()  # nothing is trained again
    assert [file.stat().st_mtime_ns for file in files] == written
    with pytest.raises(SystemExit, match=r"exact-\S+-0.json is of other settings"):
        example(*args, "--lr", 0.1)
    # Other penalties are for relaxed networks only.
    with pytest.raises(SystemExit, match=r"relaxed-\S+-0.json is of other settings"):
        example(*args, "--penalty", 0.1)
    # Nor are other data those of the folder.
    other = {"inertia": "pendulum", "pendulum": "inertia"}[data]
    with pytest.raises(SystemExit, match=r"exact-\S+-0.json is of other settings"):
        example(*args, "--data", other, "--output", folder)
