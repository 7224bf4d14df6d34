import pickle
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from lieconv_pyg.training.checkpoint_io import AtomicCheckpointIO, CheckpointWriteError


def checkpoint(value, size=10):
    return {"state_dict": {"weight": torch.full((size,), float(value))}, "epoch": value}


def value(path):
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert (loaded["state_dict"]["weight"] == loaded["epoch"]).all()
    return loaded["epoch"]


@contextmanager
def largest_file(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_save_and_load(tmp_path):
    path = tmp_path / "new" / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint(checkpoint(1), path)
    assert value(path) == 1
    (tmp_path / "new" / "last.ckpt.tmp").write_bytes(b"of a run that was killed")
    io.save_checkpoint(checkpoint(2), str(path))
    assert value(path) == 2
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
    io.remove_checkpoint(path)
    assert not path.exists()


def test_a_write_that_fails_leaves_the_earlier_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint(checkpoint(1), path)
    with largest_file(20_000), pytest.raises(CheckpointWriteError) as caught:
        io.save_checkpoint(checkpoint(2, 100_000), path)
    assert isinstance(caught.value, OSError)
    assert str(caught.value) == (
        f"the checkpoint {path} could not be written (File too large); the earlier "
        "one is untouched"
    )
    assert value(path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    io.save_checkpoint(checkpoint(3), path)
    assert value(path) == 3


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointWriteError, match=r"file/last.ckpt .*; there is none"):
        AtomicCheckpointIO().save_checkpoint(
            checkpoint(1), tmp_path / "file" / "last.ckpt"
        )


def test_what_cannot_be_saved_shows_as_it_is(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises((AttributeError, pickle.PicklingError)):
        AtomicCheckpointIO().save_checkpoint({"function": lambda: None}, path)
    assert list(tmp_path.iterdir()) == []


class Foreign:
    pass


@pytest.mark.parametrize(
    "kind", ["cut", "empty", "text", "pickle", "class", "other", "list"]
)
def test_what_is_not_a_checkpoint(kind, tmp_path):
    path = tmp_path / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint(checkpoint(1, 10_000), path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-5_000])
    elif kind in ("empty", "text"):
        path.write_text("" if kind == "empty" else "no checkpoint\n" * 100)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Foreign()}))
    else:
        content = {"class": {"state_dict": Foreign()}, "other": {}, "list": [1]}[kind]
        torch.save(content, path)
    with pytest.raises(ValueError, match="not a") as caught:
        io.load_checkpoint(path, weights_only=False)
    assert str(caught.value).startswith(f"{path} is not a ")
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "none.ckpt")


# The parent itself does nothing with torch, whose threads do not survive a fork.
KILLED = """
import os, random, signal, sys, time
import torch
from lieconv_pyg.training.checkpoint_io import AtomicCheckpointIO

path, io = sys.argv[1], AtomicCheckpointIO()

def write():
    before = io.load_checkpoint(path)["epoch"] if os.path.exists(path) else 0
    for epoch in range(before + 1, 1_000_000):
        weight = torch.full((300_000,), float(epoch))
        io.save_checkpoint({"state_dict": {"w": weight}, "epoch": epoch}, path)

def check():
    loaded = io.load_checkpoint(path)
    assert (loaded["state_dict"]["w"] == loaded["epoch"]).all()
    assert len(os.listdir(os.path.dirname(path))) <= 2
    print(loaded["epoch"], flush=True)
    os._exit(0)

def start(work):
    child = os.fork()
    if child == 0:
        work()
    return child

def time_of_change():
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0

for trial in range(12):
    old, child = time_of_change(), start(write)
    while time_of_change() == old:
        time.sleep(0.001)
    time.sleep(0.1 * random.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert os.waitpid(start(check), 0)[1] == 0
"""


def test_kill_in_the_middle(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "last.ckpt")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    epochs = [int(line) for line in done.stdout.split()]
    assert len(epochs) == 12 and epochs == sorted(set(epochs))
