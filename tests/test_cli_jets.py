"""The command ``lieconv`` for jets."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import lieconv_pyg
from lieconv_pyg.calculator import LieConvCalculator
from lieconv_pyg.checkpoints import read_checkpoint
from lieconv_pyg.cli import fit, main
from lieconv_pyg.training import JetDataModule, JetModule
from tests.datasets.test_top_tagging import npz
from tests.runs import CONFIGS, empty_folder
from tests.training.test_distributed import lieconv_fit

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")

#: Forty jets, of ten a step, for two epochs.
DATA = [
    "--task=jets",
    "--data.num_train=40",
    "--data.num_valid=20",
    "--data.num_test=25",
    "--data.batch_size=10",
    "--data.max_constituents=10",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
]
LIECONV = [
    "--model.network=lieconv",
    "--model.network.group=SO3",
    "--model.network.hidden_channels=8",
    "--model.network.num_layers=2",
    "--model.network.num_neighbors=5",
]
LORENTZ = [
    "--model.network=lorentz_net",
    "--model.network.hidden_channels=8",
    "--model.network.num_layers=2",
]
TRIAL = ["--trainer.fast_dev_run=true"]
FILES = {"checkpoints", "config.yaml", "logs", "learning_curve.png"}
FILES |= {"predictions.csv", "roc.csv", "roc.png"}


@pytest.fixture(autouse=True)
def _no_root(monkeypatch):
    monkeypatch.delenv("LIECONV_TOP_TAGGING_ROOT", raising=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, with averaged weights."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield fit([*DATA, *LIECONV, "--ema=0.9", "--output=run"]), folder


def test_a_run(trained, capsys):
    run, folder = trained
    assert {p.name for p in (folder / "run").iterdir()} == FILES
    assert all((folder / file).stat().st_size > 20 for file in run.files)
    assert run.predictions is None and run.target is None
    assert run.test.labels.shape == (25,) and len(run.history) == 2
    rows = (folder / "run/predictions.csv").read_text().splitlines()
    assert len(rows) == 26
    config = yaml.safe_load((folder / "run/config.yaml").read_text())
    assert config["model"]["network"]["init_args"]["out_channels"] == 2

    best = f"--ckpt_path={run.checkpoint}"
    assert main(["test", best]) == 0
    out = capsys.readouterr().out
    assert "ToyJets, 25 test jets, trained on 40" in out
    assert f"{run.test.accuracy_text} " in out and "JetLieResNet SO3" in out
    assert main(["test", best, "--data.num_test=30", "--data.seed=1"]) == 0
    out, err = capsys.readouterr()
    assert "30 test jets" in out
    assert "the jets of toy are not those of toy" in err
    assert main(["validate", best]) == 0
    lines = capsys.readouterr().out.splitlines()
    error = min(row[2] for row in run.history)
    assert lines == ["toy, 20 validation jets", f"error {error:.3g} %"]


def test_load(trained, capsys):
    run, _ = trained
    module = lieconv_pyg.load(run.checkpoint)
    assert isinstance(module, JetModule) and not module.training
    data = JetDataModule(num_train=40, num_valid=20, num_test=25, max_constituents=10)
    batches = [module(b.pos, b.batch, b.num_graphs) for b in data.test_dataloader()]
    found = torch.cat(batches).detach()
    torch.testing.assert_close(found[:, 1], run.test.scores, rtol=0, atol=1e-6)
    ckpt = f"--ckpt_path={run.checkpoint}"
    assert main(["predict", ckpt, "--data=a.xyz"]) == 2
    assert "is of jets, and not of molecules" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is of jets, and not of molecules"):
        LieConvCalculator(run.checkpoint)


def test_going_on(trained, capsys, monkeypatch):
    """A run that stops after an epoch and goes on ends as the one that did not."""
    run, _ = trained

    def stop(self):
        if self.trainer.state.fn == "fit" and self.current_epoch == 1:
            raise OSError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(JetModule, "on_train_epoch_start", stop, raising=False)
        assert main(["fit", *DATA, *LIECONV, "--ema=0.9", "--output=parts"]) == 1
    again = fit(["--output=parts", "--ckpt_path=last"], table=False)
    np.testing.assert_array_equal(again.history, run.history)
    assert again.test.scores.equal(run.test.scores)
    args = ["--output=parts", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert main(["fit", *args, "--data.seed=1"]) == 2
    assert "the jets of toy are not those of" in capsys.readouterr().err
    assert main(["test", f"--ckpt_path={again.checkpoint}", "--data.unit=20"]) == 2
    assert "data.unit: 1.0 in the checkpoint, 20.0" in capsys.readouterr().err
    assert main(["fit", *args, "--task=images"]) == 2
    assert "task: the configuration is of jets" in capsys.readouterr().err


def test_two_processes_train_as_one(tmp_path):
    """With half the batch each, and an odd number of test jets."""
    args = [*DATA, *LORENTZ, "--trainer.max_epochs=1"]
    args += ["--model.network.dropout=0", "--model.network.beams=false"]
    run = fit([*args, "--output=one"], table=False)
    args += ["--data.batch_size=5", "--trainer.devices=2", "--trainer.strategy=ddp"]
    found = lieconv_fit(tmp_path, *args, "--output=two")
    assert found.returncode == 0, found.stderr
    rows = [Path(n, "predictions.csv").read_text().split() for n in ("one", "two")]
    one, two = (
        [float(row.split(",")[2]) for row in part if row[0].isdigit()] for part in rows
    )
    assert len(two) == 25
    assert two == pytest.approx(one, abs=1e-3)
    assert run.test.accuracy_text in found.stdout


def test_files(tmp_path, capsys):
    """Jets of a NumPy file, and a folder that has none."""
    npz(tmp_path / "jets.npz")
    args = [*LORENTZ, "--task=jets", "--data.dataset=top_tagging", *TRIAL]
    args += ["--data.batch_size=4", "--trainer.accelerator=cpu"]
    fit([*args, "--data.root=jets.npz"])
    out = capsys.readouterr().out
    assert "TopTagging: 9 training, 8 validation and 7 test jets of 1 to 6" in out
    assert "LorentzNet" in out
    assert main(["fit", *args, "--data.root=none"]) == 2
    assert "TopTagging is not at" in capsys.readouterr().err
    assert main(["fit", *args, "--data.root=jets.npz", "--data.num_test=8"]) == 2
    assert "num_test 8 is more than the 7 jets in test" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["lieconv", "lorentz_net"])
@pytest.mark.parametrize("config", ["jets", "top_tagging"])
def test_shipped_configurations(config, network, tmp_path, capsys):
    args = [f"--config={CONFIGS / config}.yaml", *TRIAL, "--trainer.accelerator=cpu"]
    args += ["--data.num_train=8", "--data.num_valid=4", "--data.num_test=4"]
    args += ["--data.batch_size=4"]
    if network == "lorentz_net":
        args.append(f"--config={CONFIGS / 'lorentz_net.yaml'}")
    if config == "top_tagging":
        # Of several constituents each: a single massless one has no rest frame.
        p = 50 * np.random.default_rng(0).normal(size=(9, 5, 4))
        p[..., 0] = np.linalg.norm(p[..., 1:], axis=2)
        arrays = {f"kinematics_{part}": p for part in ("train", "val", "test")}
        arrays |= {f"labels_{part}": np.arange(9) % 2 for part in ("val", "test")}
        args.append(f"--data.root={npz(tmp_path / 'jets.npz', **arrays)}")
    run = fit(args)
    assert run.test.labels.shape == (4,) and run.test.scores.isfinite().all()
    name = "LorentzNet" if network == "lorentz_net" else "JetLieResNet SO3"
    assert name in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "args,message",
    [
        (["--data.dataset=qcd"], "dataset 'qcd' does not exist"),
        (["--data.dataset=top_tagging"], "TopTagging is not at data/TopTagging"),
        (["--data.root=a"], "root does not go with dataset 'toy'"),
        (["--data.batch_size=41"], "batch_size 41 is more than the 40 training jets"),
        (["--data.num_valid=0"], "num_valid must be at least 1"),
        (["--data.unit=0"], "'unit' must be a positive number of GeV"),
        (["--data.resolution=-1"], "'resolution' must not be negative"),
        (["--model.network.out_channels=3"], "built for out_channels 3"),
        (["--model.network=egnn"], "network 'egnn' does not exist"),
        (["--model.network.group=SO2"], "jets need a group that acts on space"),
        (["--model.network.points=energies"], "'points' must be 'momenta' or"),
        (["--trainer.precision=bf16-true"], "group elements need single precision"),
        (["--data.crop=1"], "crop"),
    ],
)
def test_errors_leave_nothing(args, message, tmp_path, capsys):
    assert main(["fit", *DATA, *LIECONV, *args, "--output=run"]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite(capsys):
    assert main(["fit", *DATA, *LORENTZ, "--output=run", "--model.lr=1e30"]) == 1
    message = capsys.readouterr().err
    assert "is not finite at step" in message and "molecules" not in message


def test_the_task_is_saved(trained):
    run, _ = trained
    assert read_checkpoint(run.checkpoint)["lieconv_pyg"]["task"] == "jets"
