"""Runs that stop because of a NaN, a full disk, or a part of the data that is bad."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lieconv_pyg.checkpoints import read_checkpoint
from lieconv_pyg.cli import RunError, fit, main
from lieconv_pyg.nn.graph_net import GraphNet
from tests.runs import TINY, empty_folder

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")


class Spoilt(GraphNet):
    """A graph network whose output or gradient is not finite from some call on."""

    calls = 0
    at = 5
    kind = "loss"

    def forward(self, z, pos, batch=None):
        out = super().forward(z, pos, batch)
        Spoilt.calls += self.training
        if self.training and Spoilt.calls == self.at:
            zero = (out - out.detach()).abs()
            return out * float("nan") if self.kind == "loss" else out + zero.sqrt()
        return out


@pytest.mark.parametrize(
    ("kind", "at", "good"),
    [("loss", 5, True), ("gradient", 5, True), ("loss", 2, False)],
)
def test_run_stops(kind, at, good, monkeypatch, capsys):
    monkeypatch.setattr(Spoilt, "calls", 0)
    monkeypatch.setattr(Spoilt, "at", at)
    monkeypatch.setattr(Spoilt, "kind", kind)
    name = f"--model.network={__name__}.Spoilt"
    args = [name if a.startswith("--model.network=") else a for a in TINY]
    assert main(["fit", *args, "--output=run"]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    found = re.search(
        r"lieconv: error: the (\w+) is not finite at step (\d) \(epoch (\d)\), on the "
        r"molecules (.*?); (.*?); a lower",
        err,
    )
    assert found, err
    assert found[1] == kind
    assert (found[2], found[3]) == (("5", "2") if at == 5 else ("2", "1"))
    assert len(found[4].split(", ")) == 8
    last = Path("run/checkpoints/last.ckpt").resolve()
    if good:
        assert found[5] == f"the last good checkpoint is {last}"
        weights = read_checkpoint(last)["state_dict"].values()
        assert all(w.isfinite().all() for w in weights)
        assert read_checkpoint(last)["global_step"] == 3
    else:
        assert found[5] == "no checkpoint yet"
        assert not last.exists()


class SpoiltInValidation(GraphNet):
    """One whose validation fails in the second epoch."""

    epochs = 0

    def forward(self, z, pos, batch=None):
        out = super().forward(z, pos, batch)
        if self.training:
            SpoiltInValidation.epochs += 1 / 3
        bad = not self.training and self.epochs > 1.5
        return out * float("nan") if bad else out


def test_validation_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(SpoiltInValidation, "epochs", 0)
    name = f"--model.network={__name__}.SpoiltInValidation"
    args = [name if a.startswith("--model.network=") else a for a in TINY]
    assert main(["fit", *args, "--output=run"]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert "the validation loss is not finite at step 7 (epoch 2), on the mol" in err
    names = re.search(r"on the molecules (.*?); the last good", err)[1].split(", ")
    assert len(names) == 8 and len(set(names)) == 8
    assert read_checkpoint("run/checkpoints/best.ckpt")["epoch"] == 0


def test_infinite_loss_of_a_learning_rate(capsys):
    assert main(["fit", *TINY, "--output=run", "--model.lr=1e30"]) == 1
    assert "is not finite at step" in capsys.readouterr().err


def test_full_disk():
    size = 40_000  # bytes that a file may have: less than a checkpoint

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    wide = "--model.network.init_args.hidden_channels=64"
    command = [sys.executable, "-m", "lieconv_pyg", "fit", *TINY, wide, "--output=run"]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        env={"PYTHONPATH": root, "PATH": "", "OMP_NUM_THREADS": "1", "HOME": "."},
    )
    assert done.returncode == 1, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lieconv: error: the checkpoint ")
    assert "could not be written (File too large)" in last
    assert list(Path("run/checkpoints").iterdir()) == []


def test_folder_that_cannot_be_made(capsys):
    Path("file").write_text("")
    assert main(["fit", *TINY, "--output=file/run"]) in (1, 2)
    err = capsys.readouterr().err
    assert "file" in err and "Traceback" not in err


def test_error_from_python():
    with pytest.raises(RunError, match="is not finite at step"):
        fit([*TINY, "--output=run", "--model.lr=1e30"])
    assert torch.is_grad_enabled()
