"""Runs that are stopped and go on: the same numbers as without the stop."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from lieconv_pyg.checkpoints import read_checkpoint
from lieconv_pyg.cli import fit, main
from lieconv_pyg.training import MoleculeModule
from tests.runs import TINY, TINY_SE3, empty_folder

pytestmark = pytest.mark.usefixtures("empty_folder")
__all__ = ["empty_folder"]
EPOCHS = ["--trainer.max_epochs=12", "--ema=0.9"]


def same(one, two):
    assert one.history == two.history
    assert torch.equal(one.predictions.predicted, two.predictions.predicted)
    weights = [read_checkpoint(run.checkpoint)["state_dict"] for run in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=0)


def start(*args):
    """Starts the command in a process of its own."""
    command = [sys.executable, "-m", "lieconv_pyg", "fit", *args]
    root = str(Path(__file__).resolve().parents[1])
    threads = str(torch.get_num_threads())
    env = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": threads}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=env, **quiet)


def wait_for(path, process, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, f"no {path}"
        time.sleep(0.01)


def test_killed_at_any_moment():
    whole = fit([*TINY_SE3, *EPOCHS, "--output=whole"], table=False)
    last = Path("run/checkpoints/last.ckpt")
    args = [*TINY_SE3, *EPOCHS, "--output=run"]
    # First before there is a checkpoint, then at random moments of the epochs.
    for wanted in (Path("run/config.yaml"), last, last):
        process = start(*args)
        wait_for(wanted, process)
        time.sleep(random.Random(str(wanted)).random() * 0.3)
        assert process.poll() is None, "it was faster than the test: more epochs"
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in Path("run/checkpoints").glob("*.ckpt"):
            read_checkpoint(path)  # whole
        yaml.safe_load(Path("run/config.yaml").read_text())
        args = ["--output=run", "--ckpt_path=last"]
    assert len(torch.load(last, weights_only=True)["callbacks"]["RunReport"]) > 0
    same(fit(args, table=False), whole)


@pytest.mark.parametrize("network", [TINY, TINY_SE3], ids=["graph_net", "se3"])
def test_stopped_within_an_epoch(network, monkeypatch):
    args = [*network, "--trainer.max_epochs=4", "--ema=0.9"]
    whole = fit([*args, "--output=whole"], table=False)
    step = MoleculeModule.training_step

    def stop(module, batch, batch_idx):
        if (module.current_epoch, batch_idx) == (2, 1):
            raise InterruptedError
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(MoleculeModule, "training_step", stop)
        with pytest.raises(Exception, match="run"):
            fit([*args, "--output=run"], table=False)
    same(fit(["--output=run", "--ckpt_path=last"], table=False), whole)


def test_more_epochs():
    one = fit([*TINY, "--output=run", "--trainer.max_epochs=1"], table=False)
    again = ["--output=run", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert [row[0] for row in fit(again, table=False).history] == [1, 2, 3]
    best = f"--ckpt_path={one.checkpoint}"
    other = fit(["--output=other", best, "--trainer.max_epochs=2"], table=False)
    assert other.folder == Path("other")


def test_last_needs_a_run(capsys):
    assert main(["fit", *TINY, "--ckpt_path=last"]) == 2
    assert "ckpt_path last needs the folder of the run" in capsys.readouterr().err
    assert main(["fit", *TINY, "--ckpt_path=last", "--output=none"]) == 2
    assert "no file none/checkpoints/last.ckpt" in capsys.readouterr().err
    assert main(["test", "--ckpt_path=best", "--output=none"]) == 2
    assert "no file none/checkpoints/best.ckpt" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_interrupted(monkeypatch, capsys):
    def stop(module):
        raise KeyboardInterrupt

    monkeypatch.setattr(MoleculeModule, "on_train_epoch_start", stop)
    assert main(["fit", *TINY, "--output=run"]) == 130
    assert "interrupted; --ckpt_path last goes on" in capsys.readouterr().err
