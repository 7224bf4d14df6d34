"""The command line on symmetries."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from lieconv_pyg.cli import fit, main
from lieconv_pyg.groups import MatrixLieGroup
from tests.runs import CONFIGS, empty_folder

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")
SMALL = [
    "--task=discovery",
    "--data.num_train=8",
    "--data.batch_size=16",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
]
WIDTH = "--model.network.init_args.hidden_channels=8"
METHODS = {
    "lie_gan": "LieGAN",
    "symmetry_gan": "SymmetryGAN",
    "augerino": "Augerino",
    "augerino_plus": "AugerinoPlus",
    "null_space": "GradientNullSpace",
}


def test_a_run(capsys):
    args = [*SMALL, "--model.network=lie_gan", WIDTH]
    assert main(["fit", *args, "--output=run"]) == 0
    out, err = capsys.readouterr()
    assert "two bodies, out of distribution: 144 training pairs" in out
    assert "LieGAN: 1 channels on two bodies" in out and "coverage" in out
    assert "tested   the last epoch, 2" in out and "Warning" not in err
    names = {"basis.json", "symmetry.txt", "basis.png", "metric.png"}
    names |= {"losses.png", "checkpoints", "config.yaml", "logs"}
    assert {p.name for p in Path("run").iterdir()} == names
    assert {p.name for p in Path("run/checkpoints").iterdir()} == {"last.ckpt"}
    basis = torch.tensor(json.loads(Path("run/basis.json").read_text()))
    assert basis.shape == (1, 8, 8) and basis.count_nonzero() == 16
    # The checkpoint is tested alike, with its configuration.
    capsys.readouterr()
    assert main(["test", "--ckpt_path=run/checkpoints/last.ckpt"]) == 0
    said = Path("run/symmetry.txt").read_text().splitlines()[1]
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("method", METHODS)
def test_methods(method, capsys):
    args = [*SMALL, f"--model.network={method}", WIDTH, "--output=run"]
    assert fit(args).test.model == METHODS[method]


@pytest.mark.parametrize(
    "problem", ["three_body", "discrete_rotation", "lorentz_scattering"]
)
def test_problems(problem):
    args = [*SMALL, f"--data.problem={problem}", "--data.num_train=20"]
    args += ["--model.network=lie_gan", "--model.network.init_args.num_channels=2"]
    args += [WIDTH]
    run = fit([*args, "--output=run"])
    assert len(run.test.basis) == 2 and run.test.score is not None


@pytest.mark.parametrize(
    "config", sorted(p.stem for p in CONFIGS.glob("discovery*.yaml"))
)
def test_shipped_configurations(config, capsys):
    args = [f"--config={CONFIGS / config}.yaml", "--trainer.fast_dev_run=true"]
    fit([*args, "--data.num_train=80", "--trainer.accelerator=cpu"])
    assert "coverage" in capsys.readouterr().out
    assert not Path("runs").exists()


def test_pairs_of_your_own():
    x = np.random.default_rng(0).normal(size=(200, 3))
    np.savez("mine.npz", x=x, y=np.linalg.norm(x, axis=1))
    args = ["--data.problem=pairs", "--data.root=mine.npz", "--data.y_type=scalars"]
    args = [*SMALL[:1], *SMALL[2:], *args, "--model.network=null_space", WIDTH]
    run = fit([*args, "--output=run"])
    assert run.test.basis.shape[1:] == (3, 3)
    assert "mine" in Path("run/symmetry.txt").read_text()


def test_a_run_that_goes_on():
    """Is the run that was not stopped."""
    args = [*SMALL, "--model.network=lie_gan", WIDTH]
    whole = fit([*args, "--trainer.max_epochs=3", "--output=whole"])
    fit([*args, "--trainer.max_epochs=1", "--output=part"])
    on = fit(["--output=part", "--ckpt_path=last", "--trainer.max_epochs=3"])
    assert torch.equal(on.test.basis, whole.test.basis)
    assert on.history == whole.history


def test_a_collapsed_run_goes_on(capsys):
    """It says so again, and counts epochs from where it began anew."""
    args = [*SMALL, "--model.network=lie_gan", WIDTH, "--output=run"]
    none = ["--model.lr=1e-9", "--model.max_restarts=1"]
    none += [f"--model.network.init_args.{k}" for k in ("init_scale=1e-6", "sigma=1.0")]
    with pytest.warns(UserWarning, match="begins anew"):
        assert main(["fit", *args, *none]) == 0
    assert "tested   the last epoch, 4" in capsys.readouterr().out
    assert main(["test", "--ckpt_path=run/checkpoints/last.ckpt"]) == 0
    out = capsys.readouterr().out
    assert "no symmetry was found: elements move" in out and "began anew 1 times" in out
    assert main(["validate", "--ckpt_path=run/checkpoints/last.ckpt"]) == 0
    more = ["--ckpt_path=run/checkpoints/last.ckpt", "--trainer.max_epochs=3"]
    assert main(["fit", *args, *none, *more, "--output=on"]) == 0
    assert "tested   the last epoch, 5" in capsys.readouterr().out


def test_what_was_found_becomes_a_group():
    """From the file of a run, in a line of Python or of a configuration."""
    turn = [[[0.0, -1.0], [1.0, 0.0]]]
    Path("basis.json").write_text(json.dumps(turn))
    group = MatrixLieGroup.from_basis(json.loads(Path("basis.json").read_text()))
    assert group.orbit_dim == 1
    args = ["--task=images", "--data.num_train=20", "--data.num_valid=10"]
    args += ["--data.num_test=10", "--trainer.max_epochs=1", "--data.batch_size=10"]
    args += ["--model.network=lieconv", WIDTH]
    args += ["--model.network.init_args.group=lieconv_pyg.groups.LinearLieGroup"]
    args += [f"--model.network.init_args.group.basis={json.dumps(turn)}"]
    pytest.importorskip("sklearn")
    run = fit([*args, "--trainer.accelerator=cpu", "--output=run"])
    assert "LinearLieGroup" in run.test.model


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--data.problem=four_body"], "problem"),
        (["--model.network=null-spaces"], "Did you mean 'null_space'?"),
        (["--data.split=random"], "split must be out_of_distribution or iid"),
        (["--data.root=none.npz"], "none.npz"),
        (["--data.problem=pairs"], "the problem pairs needs root"),
        (["--data.y_type=labels"], "y_type is for the problem pairs"),
        (["--data.problem=three_body", "--data.extended=true"], "for the problem two"),
        (["--data.num_train=1"], "num_train must be at least 2"),
        (["--ema=0.9"], "ema does not go with discovery"),
        (["--patience=3"], "patience does not go with discovery"),
        (["--trainer.devices=2"], "on one process"),
        (["--model.max_restarts=-1"], "max_restarts must be at least 0"),
        (["--model.network.init_args.identity=sine"], "'identity' must be one of"),
        (
            ["--model.network.init_args.representation.size=3"],
            "built for size 3, the data have 8",
        ),
    ],
    ids=range(14),
)
def test_mistakes(args, message, capsys):
    assert main(["fit", *SMALL, "--model.network=lie_gan", WIDTH, *args]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1
    assert not Path("runs").exists()
