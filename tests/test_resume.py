"""Runs that are stopped and go on: the same numbers as without the stop."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase.io import write

from lieconv_pyg.checkpoints import read_checkpoint
from lieconv_pyg.cli import RunError, UsageError, fit, main
from lieconv_pyg.training import MoleculeModule
from tests.molecules import distorted
from tests.runs import TINY, TINY_DATA, TINY_SE3, empty_folder

pytestmark = pytest.mark.usefixtures("empty_folder")
__all__ = ["empty_folder"]
EPOCHS = ["--trainer.max_epochs=12", "--ema=0.9"]


def same(one, two):
    np.testing.assert_array_equal(one.history, two.history)  # with NaN as it is
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


def broken_off(args, name, epoch=None, batch_index=0):
    """Breaks a run off in the middle of a step."""
    step = getattr(MoleculeModule, name)

    def stop(module, batch, batch_idx):
        if batch_idx == batch_index and epoch in (None, module.current_epoch):
            raise InterruptedError
        return step(module, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MoleculeModule, name, stop)
        with pytest.raises(RunError):
            fit(args, table=False)


@pytest.mark.parametrize("network", [TINY, TINY_SE3], ids=["graph_net", "se3"])
def test_stopped_within_an_epoch(network):
    args = [*network, "--trainer.max_epochs=4", "--ema=0.9"]
    whole = fit([*args, "--output=whole"], table=False)
    broken_off([*args, "--output=run"], "training_step", 2, 1)
    same(fit(["--output=run", "--ckpt_path=last"], table=False), whole)


def test_validation_now_and_then():
    args = [*TINY, "--trainer.max_epochs=5", "--trainer.check_val_every_n_epoch=2"]
    whole = fit([*args, "--output=whole"], table=False)
    assert len(whole.history) == 5
    broken_off([*args, "--output=run"], "training_step", 3, 1)
    same(fit(["--output=run", "--ckpt_path=last"], table=False), whole)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended")
def test_validation_within_an_epoch():
    args = [*TINY, "--trainer.max_epochs=4", "--trainer.val_check_interval=2"]
    whole = fit([*args, "--output=whole"], table=False)
    broken_off([*args, "--output=run"], "training_step", 2, 2)
    same(fit(["--output=run", "--ckpt_path=last"], table=False), whole)
    # The best one may have been written in the middle of an epoch.
    best = "--ckpt_path=run/checkpoints/best.ckpt"
    more = fit([best, "--trainer.max_epochs=6", "--output=more"], table=False)
    assert more.history[-1][0] == 6


def test_stopped_in_the_test_after_stopping_early():
    still = ["--model.network=egnn", "--model.lr=1e-30", "--patience=1"]
    args = [*TINY_DATA, *still, "--trainer.max_epochs=9"]
    whole = fit([*args, "--output=whole"], table=False)
    assert len(whole.history) < 9  # none is better
    broken_off([*args, "--output=run"], "test_step")
    same(fit(["--output=run", "--ckpt_path=last"], table=False), whole)


def test_a_folder_that_was_moved():
    still = ["--model.network=egnn", "--model.lr=1e-30", "--trainer.max_epochs=2"]
    one = fit([*TINY_DATA, *still, "--output=run"], table=False)
    assert read_checkpoint(one.checkpoint)["epoch"] == 0  # none is better
    Path("run").rename("moved")
    more = ["--ckpt_path=last", "--output=moved", "--trainer.max_epochs=4"]
    run = fit(more, table=False)
    assert run.checkpoint.parts[-3] == "moved"
    assert read_checkpoint(run.checkpoint)["epoch"] == 0
    assert read_checkpoint("moved/checkpoints/last.ckpt")["epoch"] == 3


def test_other_runs_are_left_alone():
    fit([*TINY, "--output=one"], table=False)
    two = fit([*TINY, "--output=two", "--seed_everything=1"], table=False)
    before = two.checkpoint.read_bytes()
    with pytest.raises(UsageError, match="two is not empty"):
        fit(["--ckpt_path=one/checkpoints/last.ckpt", "--output=two"])
    assert two.checkpoint.read_bytes() == before
    # What was there is known by its molecules, not by the name of its file.
    for message, more in [
        ("has had 2 epochs, trainer.max_epochs is 1", ["--trainer.max_epochs=1"]),
        ("ema: None in the checkpoint, 0.9 here", ["--ema=0.9"]),
    ]:
        with pytest.raises(UsageError, match=message):
            fit(["--ckpt_path=last", "--output=two", *more])


def test_files_of_data(monkeypatch):
    frames = [distorted("CH3OH", seed) for seed in range(30)]
    write("a.extxyz", frames)
    args = [*TINY, "--data.dataset=a.extxyz", "--data.target=energy"]
    fit([*args, "--output=run", "--data.limit=[24,3,3]"], table=False)
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    more = ["--output=../run", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert len(fit(more, table=False).history) == 3
    Path("../a.extxyz").rename("b.extxyz")
    more[-1] = "--trainer.max_epochs=4"
    run = fit([*more, "--data.dataset=b.extxyz"], table=False)
    assert len(run.history) == 4
    write("c.extxyz", frames[::-1])
    with pytest.raises(UsageError, match=r"are not those of \S*c.extxyz"):
        fit([*more, "--data.dataset=c.extxyz"], table=False)


def test_more_epochs():
    one = fit([*TINY, "--output=run", "--trainer.max_epochs=1"], table=False)
    again = ["--output=run", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert [row[0] for row in fit(again, table=False).history] == [1, 2, 3]
    best = f"--ckpt_path={one.checkpoint}"
    other = fit(["--output=other", best, "--trainer.max_epochs=4"], table=False)
    assert other.folder == Path("other")


def test_options_that_there_were_none_of():
    """A run of an earlier version goes on, with what is usual for them."""
    fit([*TINY, "--output=run", "--trainer.max_epochs=1"], table=False)
    path = Path("run/checkpoints/last.ckpt")
    checkpoint = read_checkpoint(path)
    for part, key in (("model", "symmetry_weight"), ("data", "split_seed")):
        del checkpoint["config"][part][key]
    torch.save(checkpoint, path)
    on = ["--output=run", "--ckpt_path=last", "--trainer.max_epochs=2"]
    assert len(fit(on, table=False).history) == 2
    with pytest.raises(UsageError, match=r"model.lr: .* in the checkpoint, 0.5 here"):
        fit([*on, "--model.lr=0.5"], table=False)


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
