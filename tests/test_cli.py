import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase.build import molecule
from ase.io import write

import lieconv_pyg
from lieconv_pyg.checkpoints import read_checkpoint
from lieconv_pyg.cli import UsageError, fit, main
from lieconv_pyg.datasets import QM9_TARGETS
from lieconv_pyg.nn.graph_net import GraphNet
from tests.molecules import distorted
from tests.qm9_files import made_up_qm9
from tests.runs import CONFIGS, TINY, TINY_DATA, TINY_SE3, empty_folder

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")
DEMO = f"--config={CONFIGS / 'demo.yaml'}"


def test_a_run(tmp_path, capsys):
    assert main(["fit", *TINY, "--output=run"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("data     ase.collections.g2: 24 training, 8 validation")
    assert lines[1].startswith("model    GraphNet, ")
    assert lines[2] == "folder   run"
    assert "ZPE, 9 test molecules of G2, trained on 24" in lines
    assert any(line.startswith("test error") and "kcal/mol" in line for line in lines)
    assert any(line.startswith("mean of the training molecules") for line in lines)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert lines[-1] == f"checkpoint {best}, figures in run"
    assert "epoch 2, loss" in err and "val MAE" in err
    assert "Warning" not in err
    assert {p.name for p in Path("run").iterdir()} == {
        "checkpoints",
        "config.yaml",
        "learning_curve.png",
        "logs",
        "parity.png",
        "predictions.csv",
    }
    assert len(Path("run/predictions.csv").read_text().splitlines()) == 10

    saved = yaml.safe_load(Path("run/config.yaml").read_text())
    assert saved["data"]["limit"] == [24, 8, 9]
    assert saved["model"]["lr"] == 0.003

    # What was tested is tested again, from the checkpoint alone.
    table = next(line for line in lines if line.startswith("GraphNet")).split()[:3]
    ckpt = "--ckpt_path=run/checkpoints/best.ckpt"
    assert main(["test", ckpt]) == 0
    again = capsys.readouterr().out.splitlines()
    assert table in [line.split()[:3] for line in again]
    assert main(["validate", "--config=run/config.yaml", ckpt]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "ZPE, 8 validation molecules"
    assert re.fullmatch(r"MAE \d\S* kcal/mol", shown[1])
    assert [p.name for p in tmp_path.iterdir()] == ["run"]

    (tested,) = (line for line in lines if line.startswith("tested   the best epoch"))
    assert re.search(r"[12] of 2, val MAE \d\S* kcal/mol$", tested)

    # The same seed gives the same run.
    first = Path("run/predictions.csv").read_text()
    fit([*TINY, "--output=second"])
    assert Path("second/predictions.csv").read_text() == first


def test_default_folder(tmp_path):
    fit([*TINY, "--trainer.max_epochs=1"], table=False)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("ZPE-GraphNet-")


def test_file(capsys):
    atoms = []
    for i, name in enumerate(["H2O", "CH4", "NH3", "C2H6", "HF"] * 6):
        atoms.append(molecule(name))
        atoms[-1].info["gap"] = 1.0 + i % 5
    write("a.xyz", atoms)
    settings = ["--data.dataset=a.xyz", "--data.target=gap", "--data.limit=null"]
    fit([*TINY, *settings, "--data.unit=eV", "--trainer.fast_dev_run=true"])
    assert "MAE (eV)" in capsys.readouterr().out
    assert sorted(p.name for p in Path().iterdir()) == ["a.xyz"]


BASELINES = {
    "graph_net": "GraphNet",
    "egnn": "EGNN",
    "schnet": "SchNet",
    "dimenet": "DimeNetPlusPlus",
}
PARTS = {*BASELINES, "lorentz_net"}  # which need another file
RUNS = sorted(p.stem for p in CONFIGS.glob("*.yaml") if p.stem not in PARTS)
ELSEWHERE = ("rotmnist", "digits", "jets", "top_tagging", "discovery")
MOLECULES = [c for c in RUNS if not c.startswith(ELSEWHERE)]  # and dynamics


@pytest.mark.parametrize(
    ("config", "baseline"),
    [(config, None) for config in MOLECULES]
    + [("demo", baseline) for baseline in BASELINES]
    + [("qm9_homo_2000", baseline) for baseline in BASELINES],
)
def test_shipped_configurations(config, baseline, tmp_path, capsys):
    args = [f"--config={CONFIGS / config}.yaml", "--trainer.fast_dev_run=true"]
    if baseline is not None:
        args.append(f"--config={CONFIGS / baseline}.yaml")
        args.append("--model.network.init_args.hidden_channels=16")
    if baseline == "dimenet":  # seconds of sympy else
        args.append("--model.network.init_args.num_spherical=2")
    if config in ("md17", "dipole"):
        write("a.extxyz", [distorted("CH3CH2OH", seed) for seed in range(20)])
        args += ["--data.dataset=a.extxyz", "--data.limit=null", "--data.batch_size=4"]
        args += ["--model.network.init_args.hidden_channels=16"]
    if config == "springs":
        args += ["--data.num_systems=[8,4,4]", "--data.batch_size=8"]
        args += ["--data.root=springs", "--model.network.init_args.hidden_channels=16"]
    if config.startswith("qm9"):
        root = made_up_qm9(tmp_path / "QM9")
        args += [f"--data.root={root}", "--data.limit=[16,4,4]", "--data.batch_size=8"]
        inner = ".network.init_args" if "augerino" in config else ""
        args += [f"--model.network.init_args{inner}.hidden_channels=16"]
    fit([*args, "--trainer.accelerator=cpu"])
    out = capsys.readouterr().out
    network = "HLieResNet" if config == "springs" else "MoleculeLieResNet"
    network = "AugerinoMolecules" if "augerino" in config else network
    assert BASELINES.get(baseline, network) in out
    assert ("test MSE" if config == "springs" else "test error") in out
    assert not (tmp_path / "runs").exists()


STEEP = {"class_path": "lieconv_pyg.neighbors.PolynomialEnvelope"}
STEEP["init_args"] = {"p": 4}


@pytest.mark.parametrize(
    ("config", "envelope"),
    [*((c, None) for c in RUNS), ("demo", True), ("demo", STEEP)],
)
def test_configurations_are_printed_as_they_are_read(config, envelope, capsys):
    args = ["fit", f"--config={CONFIGS / config}.yaml", "--print_config"]
    given = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())
    given = given["model"]["network"]["init_args"]
    if envelope is not None:
        given["envelope"] = envelope
        value = json.dumps(envelope)
        args.append(f"--model.network.init_args.envelope={value}")
    with pytest.raises(SystemExit, match="0"):
        main(args)
    first = capsys.readouterr().out
    found = yaml.safe_load(first)["model"]["network"]["init_args"]
    for name in ("group", "network"):  # whose own arguments are completed
        if name in given:
            inner = given.pop(name)["class_path"]
            assert found[name]["class_path"] == inner
    assert {name: found[name] for name in given} == given
    Path("again.yaml").write_text(first)
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--config=again.yaml", "--print_config"])
    assert capsys.readouterr().out == first


HOOK = "--model.network.init_args.hook=true"


class Unwritable(GraphNet):
    """Its argument's type has no way back from text."""

    def __init__(self, hook: Callable[[GraphNet], GraphNet] | bool | None = None):
        super().__init__(hidden_channels=8, num_layers=1)


def test_values_that_cannot_be_written_down(tmp_path):
    network = f"--model.network={__name__}.Unwritable"
    with (
        pytest.warns(UserWarning, match="Unable to serialize"),
        pytest.raises(UsageError, match="cannot be written down: hook: Unable"),
    ):
        fit([*TINY_DATA, network, HOOK, "--output=run"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["--model.network {}", "--model.network={}"])
@pytest.mark.parametrize("name", BASELINES)
def test_networks_by_one_argument(name, given, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["fit", DEMO, *given.format(name).split(), "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["network"]["class_path"].endswith(BASELINES[name])
    assert printed["model"]["network"]["init_args"]["hidden_channels"] == 64


@pytest.mark.parametrize(
    ("target", "pool", "readout"),
    [("ZPE", "sum", "add"), ("ionization_energy", "mean", "mean")],
)
def test_pooling_follows_from_the_target(target, pool, readout, tmp_path):
    args = [*TINY, f"--data.target={target}", "--data.limit=[24,6,6]"]
    width = "--model.network.init_args.hidden_channels=8"
    used = {}
    for name in ("graph_net", "egnn", "schnet", "lieconv"):
        more = ["--model.network", name, width, "--trainer.max_epochs=1"]
        if name == "lieconv":
            more += ["--model.network.init_args.group=lieconv_pyg.groups.SO3"]
            more += [
                "--model.network.init_args.species=[1,3,4,5,6,7,8,9,11,13,14,15,16,17]"
            ]
        run = fit([*args, *more, f"--output={name}"], table=False)
        config = yaml.safe_load((run.folder / "config.yaml").read_text())
        used[name] = config["model"]["network"]["init_args"]
    assert {used[name]["pool"] for name in ("graph_net", "egnn", "lieconv")} == {pool}
    assert used["schnet"]["readout"] == readout
    fit([*args, "--model.network.init_args.pool=mean", "--output=mean"], table=False)
    config = yaml.safe_load(Path("mean/config.yaml").read_text())
    assert config["model"]["network"]["init_args"]["pool"] == "mean"


@pytest.mark.parametrize("target", QM9_TARGETS)
def test_all_targets_of_qm9_train(target, tmp_path):
    root = made_up_qm9(tmp_path / "QM9")
    args = [f"--config={CONFIGS / 'qm9_homo_2000.yaml'}", f"--data.root={root}"]
    args += [f"--data.target={target}", "--data.limit=[24,5,4]", "--data.batch_size=8"]
    args += ["--model.network.init_args.hidden_channels=16", "--trainer.max_epochs=2"]
    args += ["--model.network.init_args.num_layers=1"]
    args += ["--model.network.init_args.pool=auto", "--output=run"]
    run = fit(args, table=False)
    assert len(run.history) == 2
    assert np.isfinite(run.history).all()
    assert run.target == QM9_TARGETS[target]
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    pool = config["model"]["network"]["init_args"]["pool"]
    assert pool == ("sum" if run.target.extensive else "mean")
    references = read_checkpoint(run.checkpoint)["state_dict"]["references"]
    assert bool(references.any()) == run.target.extensive


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([DEMO, "--data.batchsize=3"], "data.batchsize"),
        ([DEMO, "--data.batch_size=ten"], "data.batch_size"),
        ([DEMO, "--data.batch_size=500"], "more than the 104 training molecules"),
        ([DEMO, "--data.target=zpp"], "Did you mean 'ZPE'?"),
        ([DEMO, "--data.dataset=none.xyz"], "'none.xyz' is neither"),
        ([DEMO, "--data.dataset=qm9", "--data.target=homo"], "QM9 is not in data/QM9"),
        ([DEMO, "--data.limit=[1,2]"], "limit must be one number, or three"),
        ([DEMO, "--model.network.init_args.species=[1,6]"], "set its species to [1, 3"),
        ([DEMO, "--model.network.init_args.hidden_channel=3"], "hidden_channel"),
        ([DEMO, "--model.network.init_args.fill=2"], "'fill'"),
        ([DEMO, "--model.network=lieconv_pyg.nn.None"], "lieconv_pyg.nn.None"),
        ([DEMO, "--model.lr=-1"], "lr must be positive"),
        ([DEMO, "--trainer.max_epochs=0"], "max_epochs must be at least 1"),
        ([DEMO, "--trainer.max_epoch=3"], "Did you mean --trainer.max_epochs?"),
        ([DEMO, "--data.cuttoff=3"], "unrecognized arguments: --data.cuttoff"),
        ([DEMO, "--trainer.precision=bf16-true"], "take bf16-mixed"),
        ([DEMO, "--trainer.limit_test_batches=0"], "leaves no test molecules"),
        ([DEMO, "--output="], "output is empty"),
        ([DEMO, f"--output={__file__}/run"], "test_cli.py is not a folder"),
        ([DEMO, "--model.network=egn"], "Did you mean 'egnn'?"),
        ([DEMO, "--model.network", "schnett"], "Did you mean 'schnet'?"),
        ([DEMO, "--trainer.max_epochs=-1"], "max_epochs or max_steps must be set"),
        ([DEMO, "--ckpt_path=none.ckpt"], "there is no file none.ckpt"),
        (["--config=none.yaml"], "none.yaml"),
        ([], "model.network. There is: lieconv, "),
    ],
)
def test_errors_are_one_line_and_leave_nothing(args, message, tmp_path, capsys):
    assert main(["fit", *args]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("lieconv: error: ") and err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.split() == ["lieconv", lieconv_pyg.__version__]


def test_other_errors(tmp_path, capsys):
    assert main(["fly"]) == 2
    assert "'fit', 'validate', 'test', 'predict'" in capsys.readouterr().err
    assert main(["fit", "--config=bad.yaml"]) == 2
    Path("bad.yaml").write_text("data: {dataset: g2, targets: ZPE}\n")
    assert main(["fit", DEMO, "--config=bad.yaml"]) == 2
    assert "targets" in capsys.readouterr().err
    Path("full").mkdir()
    Path("full/notes.txt").write_text("keep me")
    assert main(["fit", *TINY, "--output=full"]) == 2
    assert "full is not empty" in capsys.readouterr().err
    assert [p.name for p in Path("full").iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="Did you mean 'ZPE'"):
        fit([*TINY, "--data.target=ZEP"])


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precision(precision, tmp_path):
    errors = []
    for given in ([], [f"--trainer.precision={precision}"]):
        run = fit([*TINY_SE3, *given, f"--output=run{len(given)}"], table=False)
        errors.append(run.predictions.mae)
    assert errors[1] != errors[0]
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def test_gradient_clipping(tmp_path):
    predicted = []
    # Clipped so hard that Adam does not move: as with no learning rate.
    for given in ("--trainer.gradient_clip_val=1e-16", "--model.lr=1e-30"):
        run = fit([*TINY, given, f"--output={given[2:4]}"], table=False)
        predicted.append(run.predictions.predicted)
    np.testing.assert_allclose(*predicted, rtol=1e-5)
    run = fit([*TINY, "--output=free"], table=False)
    assert not np.allclose(predicted[0], run.predictions.predicted, rtol=1e-3)


def test_patience(capsys):
    given = [*TINY_DATA, "--model.network=egnn", "--trainer.max_epochs=30"]
    width = "--model.network.init_args.hidden_channels=8"
    still = [width, "--model.lr=1e-30", "--patience=2", "--output=run"]
    run = fit([*given, *still], table=False)
    assert len(run.history) == 3  # the first, and two that are no better
    said = "1 of 3, val MAE .*; stopped: 2 epochs without a better one"
    assert re.search(said, capsys.readouterr().out)
    with pytest.raises(UsageError, match="patience must be at least 1"):
        fit([*given, "--patience=0", "--output=no"], table=False)


def test_another_convolution(capsys):
    """By its name, which the folder keeps."""
    name = "lieconv_pyg.nn.RelaxedLieConv"
    args = [*TINY_SE3, f"--model.network.init_args.conv={name}", "--output=run"]
    assert main(["fit", *args, "--model.symmetry_weight=0.5"]) == 0
    saved = yaml.safe_load(Path("run/config.yaml").read_text())["model"]
    assert saved["network"]["init_args"]["conv"] == name
    assert saved["symmetry_weight"] == 0.5
    tested = _errors(capsys.readouterr().out)
    assert main(["test", "--ckpt_path=run/checkpoints/best.ckpt"]) == 0
    assert _errors(capsys.readouterr().out) == tested


def _errors(out):
    """The error of the network and its number of parameters."""
    line = next(line for line in out.splitlines() if line.startswith("MoleculeLie"))
    return line.split()[:6]
