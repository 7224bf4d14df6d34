"""The command ``lieconv`` for images."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import lieconv_pyg
from lieconv_pyg.calculator import LieConvCalculator
from lieconv_pyg.checkpoints import load_weights, read_checkpoint
from lieconv_pyg.cli import fit, main
from lieconv_pyg.training import ImageDataModule, ImageModule
from tests.datasets.test_rotmnist import mnist, official
from tests.runs import CONFIGS, empty_folder
from tests.training.test_distributed import lieconv_fit

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")

#: Sixty digits, of twenty a step, for two epochs.
DIGITS = [
    "--task=images",
    "--data.num_train=60",
    "--data.num_valid=20",
    "--data.num_test=25",
    "--data.batch_size=20",
    "--model.network=lieconv",
    "--model.network.group=SE2",
    "--model.network.num_lifts=2",
    "--model.network.redraw=2",
    "--model.network.hidden_channels=8",
    "--model.network.num_layers=2",
    "--model.network.fill=0.2",
    "--model.network.num_neighbors=8",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
]
TRIAL = ["--trainer.fast_dev_run=true"]
FILES = {
    *("checkpoints", "config.yaml", "logs", "learning_curve.png", "predictions.csv"),
    *("confusion.csv", "confusion.png", "misread.png"),
}


@pytest.fixture(autouse=True)
def _no_root(monkeypatch):
    monkeypatch.delenv("LIECONV_ROTMNIST_ROOT", raising=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, with averaged weights."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield fit([*DIGITS, "--ema=0.9", "--output=run"]), folder


@pytest.fixture(scope="module")
def rotmnist(tmp_path_factory):
    """A small RotMNIST of noise: 12 images for training, 50 for the test."""
    folder = tmp_path_factory.mktemp("rotmnist")
    mnist(folder / "raw")
    return folder


def test_a_run(trained, capsys):
    run, folder = trained
    assert {p.name for p in (folder / "run").iterdir()} == FILES
    assert all((folder / file).stat().st_size > 100 for file in run.files)
    assert run.predictions is None and run.target is None
    assert run.test.labels.shape == (25,) and len(run.history) == 2
    rows = (folder / "run/predictions.csv").read_text().splitlines()
    assert len(rows) == 26
    cells = [row.split(",") for row in rows[1:]]
    assert sum(row[1] != row[2] for row in cells) == run.test.num_wrong
    config = yaml.safe_load((folder / "run/config.yaml").read_text())
    network = config["model"]["network"]["init_args"]
    assert (network["in_channels"], network["out_channels"]) == (1, 10)

    best = f"--ckpt_path={run.checkpoint}"
    assert main(["test", best]) == 0
    out = capsys.readouterr().out
    assert "RotDigits, 25 test images, trained on 60" in out
    assert f"{run.test.error_text} " in out and "ImageLieResNet SE2" in out
    assert main(["test", best, "--model.network.num_samples=3"]) == 0
    assert "25 test images" in capsys.readouterr().out
    assert main(["validate", best]) == 0
    lines = capsys.readouterr().out.splitlines()
    error = min(row[2] for row in run.history)
    assert lines == ["digits, 20 validation images", f"error {error:.3g} %"]
    # The best epoch is the one with the smallest error.
    assert read_checkpoint(run.checkpoint)["epoch"] + 1 == min(
        epoch for epoch, _, valid in run.history if valid == error
    )


def test_load(trained, capsys):
    """The averaged weights, and the grid on which the images are."""
    run, _ = trained
    module = lieconv_pyg.load(run.checkpoint)
    assert isinstance(module, ImageModule) and not module.training
    grid = read_checkpoint(run.checkpoint)["state_dict"]["network.grid._extra_state"]
    assert module.network.grid.is_set and grid["pos"].shape == (44, 2)
    data = ImageDataModule(num_train=60, num_valid=20, num_test=25)
    batches = [
        module(b.x, b.pos, b.batch, b.num_graphs) for b in data.test_dataloader()
    ]
    found = torch.cat(batches).detach()
    torch.testing.assert_close(found, run.test.probabilities, rtol=0, atol=1e-6)
    images, to_points = data.parts[2].images()[:2], data.to_points
    first = to_points.batch(images * to_points.std + to_points.mean)
    again = module(first.x, first.pos, first.batch)
    torch.testing.assert_close(again, run.test.probabilities[:2], rtol=0, atol=1e-4)

    ckpt = f"--ckpt_path={run.checkpoint}"
    assert main(["predict", ckpt, "--data=a.xyz"]) == 2
    assert "is of images, and not of molecules" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is of images, and not of molecules"):
        LieConvCalculator(run.checkpoint)


def test_weights_of_another_network(trained):
    """What differs is said, whatever else is in a state."""
    run, _ = trained
    state = read_checkpoint(run.checkpoint)["state_dict"]
    same = lieconv_pyg.load(run.checkpoint)
    same.network.grid.clear()
    load_weights(same, state, "there")
    assert same.network.grid.is_set
    config = read_checkpoint(run.checkpoint)["hyper_parameters"]["network"]
    config["init_args"]["hidden_channels"] = 12
    other = ImageModule(lieconv_pyg.checkpoints.build(config))
    with pytest.raises(ValueError, match=r"other shapes: .*\(3, 32\) there, \(5, 48\)"):
        load_weights(other, state, "there")
    without = {k: v for k, v in state.items() if not k.endswith("_extra_state")}
    with pytest.raises(ValueError, match=r"lacks network\.grid\._extra_state"):
        load_weights(same, without, "there")


def test_going_on(trained, capsys, monkeypatch):
    """A run that stops after an epoch and goes on ends as the one that did not."""
    run, _ = trained

    def stop(self):
        if self.trainer.state.fn == "fit" and self.current_epoch == 1:
            raise OSError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(ImageModule, "on_train_epoch_start", stop)
        assert main(["fit", *DIGITS, "--ema=0.9", "--output=parts"]) == 1
    again = fit(["--output=parts", "--ckpt_path=last"], table=False)
    np.testing.assert_array_equal(again.history, run.history)
    assert again.test.probabilities.equal(run.test.probabilities)
    args = ["fit", "--output=parts", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert main([*args, "--data.upright=true"]) == 2
    assert "data.upright: False in the checkpoint, True" in capsys.readouterr().err
    assert main([*args, "--data.seed=1"]) == 2
    assert "the images of digits are not those of" in capsys.readouterr().err


def test_without_validation(capsys):
    """The last epoch is tested."""
    args = [*DIGITS, "--data.num_valid=0", "--data.upright=true", "--output=run"]
    run = fit([*args, "--model.network.augment=false"])
    assert run.checkpoint.name == "last.ckpt"
    out, err = capsys.readouterr()
    assert "tested   the last epoch, 2" in out and "Warning" not in err
    assert "RotDigits, trained upright, 25 test images" in out
    assert {p.name for p in Path("run").iterdir()} == FILES
    assert main(["test", f"--ckpt_path={run.checkpoint}"]) == 0
    assert run.test.error_text in capsys.readouterr().out
    assert main(["test", f"--ckpt_path={run.checkpoint}", "--data.crop=0.9"]) == 2
    assert "data.crop: 1.0714285714285714 in the checkpoint" in capsys.readouterr().err
    assert main(["validate", f"--ckpt_path={run.checkpoint}"]) == 2
    assert "data.num_valid is 0" in capsys.readouterr().err
    again = fit(["--output=run", "--ckpt_path=last"], table=False)
    assert again.test.probabilities.equal(run.test.probabilities)


def test_two_processes_train_as_one(tmp_path):
    """With half the batch each, and an odd number of test images: without anything
    random, which processes draw each for themselves."""
    args = [*DIGITS, "--model.network.augment=false", "--trainer.max_epochs=1"]
    args += ["--model.network.num_neighbors=null"]
    run = fit([*args, "--output=one"], table=False)
    args += ["--data.batch_size=10", "--trainer.devices=2", "--trainer.strategy=ddp"]
    found = lieconv_fit(tmp_path, *args, "--output=two")
    assert found.returncode == 0, found.stderr
    rows = [Path(n, "predictions.csv").read_text().split() for n in ("one", "two")]
    assert len(rows[1]) == len(rows[0])
    one, two = (
        [float(row.split(",")[3]) for row in part if row[0].isdigit()] for part in rows
    )
    assert two == pytest.approx(one, abs=1e-3)
    assert run.test.error_text in found.stdout


def test_other_networks(capsys):
    """PyG's layers on the same points, without settings."""
    args = [a for a in DIGITS if not a.startswith("--model")]
    run = fit([*args, "--model.network=point_net", *TRIAL])
    assert run.test.model == "PointNet"
    assert "PointNet  " in capsys.readouterr().out


@pytest.mark.parametrize("config", sorted(p.stem for p in CONFIGS.glob("rotmnist_*")))
def test_published_configurations(config, rotmnist, capsys, tmp_path):
    args = [f"--config={CONFIGS / config}.yaml", f"--data.root={rotmnist}", *TRIAL]
    args += ["--data.batch_size=4", "--data.num_test=4", "--data.crop=0.6"]
    args += ["--model.network.hidden_channels=8", "--trainer.accelerator=cpu"]
    run = fit(args)
    assert (
        run.test.labels.shape == (4,) and torch.isfinite(run.test.probabilities).all()
    )
    assert "(mnist): 12 training, 0 validation and 4 test" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_of_digits(capsys):
    fit([f"--config={CONFIGS / 'digits.yaml'}", *TRIAL])
    assert "1097 training, 200 validation and 500 test" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args,message",
    [
        (["--data.dataset=mnist"], "dataset 'mnist' does not exist"),
        (["--data.dataset=rotmnist", "--data.root=none"], "RotMNIST is not in"),
        (["--data.dataset=rotmnist"], "RotMNIST is not in data/RotMNIST"),
        (["--data.dataset=rotmnist", "--data.root=official"], "has only some of"),
        (["--data.num_test=501"], "num_test 501 is more than the 500 test images"),
        (["--data.batch_size=61"], "batch_size 61 is more than the 60 training images"),
        (["--model.network.in_channels=3"], "channels in digits is 1: leave"),
        (["--model.network.out_channels=3"], "built for out_channels 3"),
        (["--model.network=egnn"], "network 'egnn' does not exist"),
        (["--model.network.group=SO3"], "images are in the plane, and SO3"),
        (["--model.network.total_ratio=0.01"], "total_ratio 0.01 leaves none of 44"),
        (["--data.num_valid=0", "--patience=3"], "patience needs images for valid"),
        (["--trainer.precision=bf16-true"], "group elements need single precision"),
    ],
)
def test_errors_leave_nothing(args, message, tmp_path, capsys):
    given = tmp_path / "official"
    if "--data.root=official" in args:
        official(given, (1, 1))
        next(given.glob("*test*")).unlink()
        given.rename(given.with_name("raw"))
        args = [args[0], f"--data.root={tmp_path}"]
    before = list(tmp_path.iterdir())
    assert main(["fit", *DIGITS, *args, "--output=run"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == before


def test_upright_digits_of_files_that_are_rotated(tmp_path, capsys):
    official(tmp_path / "raw", (2, 2))
    args = ["--data.dataset=rotmnist", "--data.root=.", "--data.upright=true"]
    assert main(["fit", *DIGITS, *args]) == 2
    assert "rotated=False needs the files of MNIST" in capsys.readouterr().err


def test_a_loss_that_is_not_finite(capsys):
    assert main(["fit", *DIGITS, "--output=run", "--model.lr=1e30"]) == 1
    message = capsys.readouterr().err
    assert "is not finite at step" in message and "molecules" not in message
