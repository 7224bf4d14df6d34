import csv
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

import lieconv_pyg
from lieconv_pyg.cli import fit
from lieconv_pyg.training import MoleculeDataModule, RandomState
from lieconv_pyg.training.molecule_report import _in_order

NETWORK = "--model.network.init_args"
TINY = [
    "--data.dataset=g2",
    "--data.target=ZPE",
    "--data.limit=[50,7,9]",
    "--model.network=lieconv_pyg.nn.MoleculeLieResNet",
    f"{NETWORK}.group.class_path=lieconv_pyg.groups.T",
    f"{NETWORK}.group.init_args.n=3",
    f"{NETWORK}.species=[1,3,4,5,6,7,8,9,11,13,14,15,16,17]",
    f"{NETWORK}.hidden_channels=8",
    f"{NETWORK}.num_layers=2",
    f"{NETWORK}.fill=0.5",
    f"{NETWORK}.augment=false",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=3",
    "--ema=0.9",
    "--trainer.callbacks+=tests.training.test_distributed.Notes",
]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]


class Notes(Callback):
    """Writes down the molecules and the loss of each step, and a few random numbers of
    each process; keeps the checkpoint of the first epoch."""

    def on_train_epoch_start(self, trainer, pl_module):
        last = Path(trainer.default_root_dir, "checkpoints", "last.ckpt")
        if trainer.is_global_zero and trainer.current_epoch == 1 and last.exists():
            shutil.copy(last, last.with_name("first.ckpt"))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        loss = trainer.strategy.reduce(outputs["loss"].detach().clone())
        drawn = [torch.rand(()).item(), random.random(), np.random.rand()]  # noqa: NPY002
        folder, rank = Path(trainer.default_root_dir), trainer.global_rank
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"notes{rank}.csv").open("a") as file:
            numbers = map(repr, [*drawn, float(loss)])
            file.write(";".join([" ".join(batch.name), *numbers]) + "\n")
        if trainer.global_step == 1:
            torch.save(dict(pl_module.named_buffers()), folder / f"buffers{rank}.pt")


def notes(folder, rank=0):
    lines = (folder / f"notes{rank}.csv").read_text().splitlines()
    rows = [line.split(";") for line in lines]
    return [
        (set(names.split()), tuple(map(float, drawn)), float(loss))
        for names, *drawn, loss in rows
    ]


def lieconv_fit(folder, *args):
    """Runs the command as a user does, since the other processes repeat it."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(lieconv_pyg.__file__).parents[1]),
    }
    for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "lieconv_pyg", "fit", *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of one process, and one of two with half the batch."""
    folder = tmp_path_factory.mktemp("runs")
    two = lieconv_fit(folder, *TINY, *TWO, "--data.batch_size=4")
    assert two.returncode == 0, two.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        one = fit([*TINY, "--data.batch_size=8", "--output=one"])
    (made,) = (folder / "runs").iterdir()
    return SimpleNamespace(folder=folder, one=one, two=made, output=two)


def predictions(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [row[0] for row in rows], torch.tensor([float(row[2]) for row in rows])


def test_two_processes_train_as_one(runs):
    whole = notes(runs.folder / "one")
    parts = [notes(runs.two, rank) for rank in range(2)]
    assert len(whole) == len(parts[0]) == len(parts[1]) == 18
    for (names, _, loss), first, second in zip(whole, *parts, strict=True):
        assert len(names) == 8 and first[0] | second[0] == names
        assert first[2] == second[2]
        assert first[2] == pytest.approx(
            loss, abs=1e-5 if loss is whole[9][2] else 1e-3
        )
    losses = [[step[2] for step in run[:10]] for run in (whole, parts[0])]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert not set(parts[0][0][1]) & set(parts[1][0][1])  # each draws its own


def test_two_processes_have_the_buffers_of_one(runs):
    paths = [runs.folder / "one/buffers0.pt"]
    paths += [runs.two / f"buffers{rank}.pt" for rank in range(2)]
    one, *two = (torch.load(path, weights_only=True) for path in paths)
    assert sum(name.endswith("running_var") for name in one) > 5
    radius = "network.net.neighborhoods.0.radius"
    assert torch.equal(one[radius], two[0][radius])
    torch.testing.assert_close(two[0], two[1], rtol=0, atol=0)
    torch.testing.assert_close(one, two[0], rtol=1e-5, atol=1e-6)


def test_two_processes_end_with_the_weights_of_one(runs):
    one, two = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (runs.folder / "one", runs.two)
    )
    assert len(one["random_state"]) == 1 and len(two["random_state"]) == 2
    assert list(one["state_dict"]) == list(two["state_dict"])
    for name, expected in one["state_dict"].items():
        got = two["state_dict"][name]
        # A batch norm takes out the bias before it: Adam moves that by rounding alone.
        atol = 1e-3 if name.endswith("weight") else 0.06
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=atol)


def test_predictions_of_two_processes(runs):
    names, values = predictions(runs.two)
    assert names == runs.one.predictions.names and len(set(names)) == 9
    torch.testing.assert_close(
        values, runs.one.predictions.predicted.float(), rtol=1e-3, atol=0.05
    )


def test_output_of_two_processes(runs):
    out, err = runs.output.stdout, runs.output.stderr
    lines = [line.split()[0] for line in out.splitlines() if line.strip()]
    for first, count in (("data", 1), ("folder", 1), ("test", 1), ("wrote", 3)):
        assert lines.count(first) == count
    assert err.count("epoch 3, loss") == 1
    assert "Warning" not in err and "Rank" not in err
    assert {p.name for p in runs.two.iterdir()} == {
        *["checkpoints", "config.yaml", "learning_curve.png", "logs", "parity.png"],
        *["predictions.csv", "notes0.csv", "notes1.csv"],
        *["buffers0.pt", "buffers1.pt"],
    }


def test_two_processes_go_on(runs):
    first = runs.two / "checkpoints" / "first.ckpt"
    args = [*TINY[:-1], *TWO, "--data.batch_size=4"]
    # Another seed, so that what is drawn can only come from the checkpoint.
    args += ["--seed_everything=5", f"--ckpt_path={first}", "--output=on"]
    on = lieconv_fit(runs.folder, f"--config={runs.two}/config.yaml", *args)
    assert on.returncode == 0, on.stderr
    for rank in range(2):
        assert notes(runs.folder / "on", rank) == notes(runs.two, rank)[6:]
    whole, resumed = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        for folder in (runs.two, runs.folder / "on")
    )
    for name, expected in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], expected), name
    history = [c["callbacks"]["RunReport"]["history"] for c in (whole, resumed)]
    assert history[0] == history[1]
    assert predictions(runs.folder / "on")[0] == predictions(runs.two)[0]


def process(rank, num, fn="fit"):
    """What the data and callbacks ask a trainer."""
    return SimpleNamespace(
        distributed_sampler_kwargs={"num_replicas": num, "rank": rank},
        global_rank=rank,
        state=SimpleNamespace(fn=fn),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )


def test_order_follows_from_seed_and_epoch(monkeypatch):
    def order(rank=0, num=1, batch_size=8, epoch=0, state=None):
        data = MoleculeDataModule("g2", "ZPE", limit=[50, 7, 9], batch_size=batch_size)
        data.trainer = process(rank, num)
        if state is not None:
            data.load_state_dict(state)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        torch.rand(epoch + rank)  # what else is drawn does not matter
        return [list(batch.name) for batch in loader], data

    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    whole, data = order()
    state = data.state_dict()
    assert order()[0] == whole and order(epoch=1)[0] != whole
    shares = [order(rank, 4, 2)[0] for rank in range(4)]
    for batches in zip(whole, *shares, strict=True):
        assert set(batches[0]) == {name for share in batches[1:] for name in share}
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    assert order()[0] != whole
    assert order(state=state)[0] == whole
    for loader in (data.val_dataloader, data.test_dataloader):
        names = [name for batch in loader() for name in batch.name]
        shares = []
        for rank in range(4):
            data.trainer = process(rank, 4)
            shares += [name for batch in loader() for name in batch.name]
        data.trainer = process(0, 1)
        assert sorted(shares) == sorted(names) and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("limit", "batch_size", "message"),
    [
        ([20, 7, 9], 8, "batch_size 8 on each of 3 processes is more than the 20"),
        ([24, 2, 9], 8, "there are 2 validation molecules for 3 processes"),
        ([24, 7, 1], 8, "there are 1 test molecules for 3 processes"),
    ],
)
def test_too_few_molecules(limit, batch_size, message):
    data = MoleculeDataModule("g2", "ZPE", limit=limit, batch_size=batch_size)
    data.trainer = process(0, 3)
    with pytest.raises(ValueError, match=message):
        data.train_dataloader()
    if min(limit) < 3:
        with pytest.raises(ValueError, match="molecules for 3 processes"):
            data.val_dataloader() and data.test_dataloader()


def draw():
    return torch.rand(()).item(), random.random(), np.random.rand()  # noqa: NPY002


def test_random_state(tmp_path):
    callback, checkpoint = RandomState(), {}
    random.gauss(0, 1)  # leaves half of a pair
    np.random.normal()  # noqa: NPY002
    callback.on_save_checkpoint(process(0, 1), None, checkpoint)
    torch.save(checkpoint, tmp_path / "a")
    loaded = torch.load(tmp_path / "a", weights_only=True)
    first = draw(), random.gauss(0, 1), np.random.normal()  # noqa: NPY002
    callback.on_load_checkpoint(process(0, 1), None, loaded)
    assert (draw(), random.gauss(0, 1), np.random.normal()) == first  # noqa: NPY002

    # A process that was not there before keeps its own, and so does a test.
    callback.on_load_checkpoint(process(0, 1), None, loaded)
    own = draw()
    for other in (process(1, 2), process(0, 1, fn="test")):
        callback.on_load_checkpoint(process(0, 1), None, loaded)
        draw()
        after = torch.get_rng_state()
        callback.on_load_checkpoint(other, None, loaded)
        assert torch.equal(torch.get_rng_state(), after)
    callback.on_load_checkpoint(process(0, 2), None, loaded)
    assert draw() == own


def test_each_process_has_a_seed_of_its_own():
    drawn = []
    for rank in range(3):
        torch.manual_seed(7)
        RandomState().setup(process(rank, 3), None, "fit")
        drawn.append(torch.rand(()).item())
    torch.manual_seed(7)
    assert drawn[0] == torch.rand(()).item()
    assert len(set(drawn)) == 3


def test_predictions_are_in_the_order_of_the_data():
    def output(names):
        values = torch.tensor([float(ord(name)) for name in names])
        keys = ("target", "prediction", "offset")
        return {"name": list(names), **dict.fromkeys(keys, values)}

    # Twice the same, and a share that is not seen whole.
    names, values = _in_order([output("ca"), output("b"), output("a")], [2, 0, 1, 0, 7])
    assert names == ["a", "b", "c"]
    assert all(v.tolist() == [97, 98, 99] for v in values)
