"""The command ``lieconv`` for dynamics."""

from pathlib import Path

import pytest
import torch
import yaml

import lieconv_pyg
from lieconv_pyg.calculator import LieConvCalculator
from lieconv_pyg.checkpoints import read_checkpoint
from lieconv_pyg.cli import fit, main
from lieconv_pyg.dynamics import Springs, rollout
from lieconv_pyg.training import DynamicsDataModule, DynamicsModule, Rollouts
from tests.runs import TINY, empty_folder
from tests.training.test_distributed import lieconv_fit

__all__ = ["empty_folder"]
pytestmark = pytest.mark.usefixtures("empty_folder")

#: Twelve systems, of six a step, for two epochs.
SPRINGS = [
    "--task=dynamics",
    "--data.system=Springs",
    "--data.system.num_particles=[3,4]",
    "--data.num_systems=[12,4,5]",
    "--data.num_states=20",
    "--data.num_rollouts=3",
    "--data.batch_size=6",
    "--model.network=hlieresnet",
    "--model.network.group=SE2",
    "--model.network.hidden_channels=8",
    "--model.network.num_layers=1",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, with its data."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = fit([*SPRINGS, f"--data.root={folder / 'data'}", "--output=run"])
        yield run, folder


def test_a_run(trained, capsys):
    run, folder = trained
    assert {p.name for p in (folder / "run").iterdir()} == {
        *("checkpoints", "config.yaml", "logs", "learning_curve.png", "rollouts.csv"),
        *("rollouts.png", "conserved.txt", "trajectories.png", "trajectories.gif"),
    }
    assert all((folder / file).stat().st_size > 100 for file in run.files)
    assert "L  " in (folder / "run/conserved.txt").read_text()
    rows = (folder / "run/rollouts.csv").read_text().splitlines()
    assert rows[0] == "time,state,energy,linear,angular" and len(rows) == 21
    errors = run.test.rollouts.errors
    assert errors.state.shape == (3, 20) and float(errors.times[-1]) == 0.19
    assert float(rows[-1].split(",")[1]) == pytest.approx(
        float(errors.state[:, -1].median()), rel=1e-5
    )
    # SE(2) keeps both momenta, trained too.
    assert all(kept.kept for kept in run.test.rollouts.conserved.quantities.values())
    assert run.predictions is None and run.target is None

    best = f"--ckpt_path={run.checkpoint}"
    assert main(["test", best]) == 0
    assert f"{run.test.loss:.2e}" in capsys.readouterr().out
    assert main(["validate", best]) == 0
    lines = capsys.readouterr().out.splitlines()
    error = min(row[2] for row in run.history)
    assert lines == ["Springs, 4 validation chunks", f"MSE {error:.3g}"]


def test_load(trained):
    run, _ = trained
    module = lieconv_pyg.load(run.checkpoint)
    assert isinstance(module, DynamicsModule) and not module.training
    config = yaml.safe_load((run.checkpoint.parents[1] / "config.yaml").read_text())
    assert config["task"] == "dynamics"
    system, root = Springs(num_particles=(3, 4)), config["data"]["root"]
    sizes = dict(num_systems=(12, 4, 5), batch_size=6, num_rollouts=3)
    data = DynamicsDataModule(system, root, num_states=20, **sizes)
    (batch,) = data.test_dataloader()
    assert module.loss(batch).item() == pytest.approx(run.test.loss, rel=1e-5)
    again = Rollouts.of(module.network, data.system, data.rollouts())
    assert again.errors.state.equal(run.test.rollouts.errors.state)
    assert next(module.network.parameters()).dtype == torch.float32
    one = data.rollouts().get_example(0)
    single = rollout(module.network.double(), one, "yoshida4")
    torch.testing.assert_close(single.pos, again.learned, rtol=0, atol=1e-12)


def test_going_on(trained, capsys, monkeypatch):
    """A run that stops after an epoch and goes on ends as the one that did not."""
    run, folder = trained
    first = [*SPRINGS, f"--data.root={folder / 'data'}", "--output=parts"]

    def stop(self):
        if self.trainer.state.fn == "fit" and self.current_epoch == 1:
            raise OSError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(DynamicsModule, "on_train_epoch_start", stop)
        assert main(["fit", *first]) == 1
    again = fit(["--output=parts", "--ckpt_path=last"], table=False)
    assert again.history == run.history and again.test.loss == run.test.loss
    capsys.readouterr()


def test_a_run_with_what_is_chosen_for_it(tmp_path, capsys):
    """The data's own folder, from which a run goes on and is tested; averaged weights,
    whose radius is infinite here."""
    args = [*SPRINGS, "--ema=0.9", "--data.num_rollouts=0", "--output=run"]
    run = fit(args, table=False)
    assert len(list((tmp_path / "data").glob("springs-*/processed/train.pt"))) == 1
    assert run.test.rollouts is None and run.test.loss < 10
    capsys.readouterr()
    assert main(["test", f"--ckpt_path={run.checkpoint}"]) == 0
    assert f"{run.test.loss:.2e}" in capsys.readouterr().out
    again = fit(["--output=run", "--ckpt_path=last"], table=False)
    assert again.test.loss == run.test.loss
    assert main(["test", f"--ckpt_path={run.checkpoint}", "--task=molecules"]) == 2
    assert "the configuration is of dynamics, not molecules" in capsys.readouterr().err


def test_two_processes_train_as_one(trained):
    """With half the batch each, and an odd number of test chunks."""
    run, folder = trained
    args = [*SPRINGS, f"--data.root={folder / 'data'}", "--output=two"]
    args += ["--data.batch_size=3", "--trainer.devices=2", "--trainer.strategy=ddp"]
    found = lieconv_fit(folder, *args)
    assert found.returncode == 0, found.stderr
    assert f"{run.test.loss:.2e}" in found.stdout


def test_on_other_systems(trained, capsys):
    run, _ = trained
    given = [f"--ckpt_path={run.checkpoint}", "--data.system.num_particles=5"]
    assert main(["test", *given, "--data.root=five"]) == 0
    out, err = capsys.readouterr()
    assert "num_particles=5" in out and "note: not the data of the checkpoint" in err


class OtherSprings(Springs):
    """Somebody's own."""


@pytest.mark.parametrize(
    "args,message",
    [
        (["--task=video"], "task 'video' does not exist. There is: molecules, dyn"),
        (["--model.network=egnn"], "network 'egnn' does not exist"),
        (["--model.network=fc"], "FC(num_particles=6) was built for systems of 6"),
        (["--model.network.group=T", "--model.network.group.n=3"], "built for 3 coord"),
        (["--model.network.num_params=3"], "built for 3 parameters"),
        (["--model.network.num_neighbors=3"], "'num_neighbors' is not for dynamics"),
        (["--data.batch_size=13"], "batch_size 13 is more than the 12 training chunks"),
        (["--data.num_rollouts=-1"], "num_rollouts must be at least 0"),
        (["--data.step=-1"], "'step' and 'tol' must be positive"),
        (["--data.system.num_particles=0"], "'num_particles' must be at least 1"),
    ],
)
def test_errors_leave_nothing(args, message, tmp_path, capsys):
    assert main(["fit", *SPRINGS, *args, "--output=run", "--data.root=new"]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_data_of_other_settings_have_their_own_folders(trained):
    _, folder = trained
    number = len(list((folder / "data").iterdir()))
    fit([*SPRINGS, f"--data.root={folder / 'data'}", "--data.seed=1", *TRIAL])
    assert len(list((folder / "data").iterdir())) == 2 * number


TRIAL = ["--trainer.fast_dev_run=true"]


def test_what_follows_from_the_system(capsys):
    """Dimension, numbers of parameters and of particles of a network."""
    args = [*SPRINGS[:1], "--data.system=Gravity", "--data.system.num_particles=3"]
    args += [a for a in SPRINGS if a.startswith(("--data.num", "--data.b", "--trai"))]
    for network in ("hogn", "fc", "hlieresnet"):
        given = [f"--model.network={network}"]
        if network == "hlieresnet":
            given += ["--model.network.group=SE3", "--model.network.hidden_channels=8"]
        run = fit([*args, *given, *TRIAL])
        assert run.test.loss < 1
    assert "free motion" in capsys.readouterr().out


def test_checkpoints_of_another_task(trained, capsys):
    run, _ = trained
    ckpt = f"--ckpt_path={run.checkpoint}"
    assert main(["predict", ckpt, "--data=a.xyz"]) == 2
    assert "is of dynamics, and not of molecules" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is of dynamics, and not of molecules"):
        LieConvCalculator(run.checkpoint)
    Path("molecules.yaml").write_text(yaml.safe_dump(_nested(TINY)))
    assert main(["test", "--config=molecules.yaml", ckpt]) == 2
    assert "is of dynamics, this is to train molecules" in capsys.readouterr().err


def _nested(args):
    """Arguments as a configuration."""
    found: dict = {}
    for arg in args:
        *path, last = arg.removeprefix("--").partition("=")[0].split(".")
        where = found
        for key in path:
            if not isinstance(where.get(key, {}), dict):
                where[key] = {"class_path": where[key]}
            where = where.setdefault(key, {})
        where[last] = yaml.safe_load(arg.partition("=")[2])
    return found


def test_systems_of_a_checkpoint_are_trusted_as_networks_are(trained, capsys):
    run, _ = trained
    checkpoint = read_checkpoint(run.checkpoint)
    name = f"{__name__}.OtherSprings"
    checkpoint["config"]["data"]["system"]["class_path"] = name
    torch.save(checkpoint, "other.ckpt")
    assert main(["test", "--ckpt_path=other.ckpt"]) == 2
    assert f"other.ckpt names {name}, which is no" in capsys.readouterr().err
    assert main(["test", "--ckpt_path=other.ckpt", "--trust=tests"]) == 0
    out, err = capsys.readouterr()
    assert f"{run.test.loss:.2e}" in out
    assert "OtherSprings in the checkpoint" not in err


def test_a_loss_that_is_not_finite(tmp_path, capsys):
    args = [*SPRINGS, "--data.root=data", "--output=run", "--model.lr=1e30"]
    assert main(["fit", *args]) == 1
    message = capsys.readouterr().err
    assert "is not finite at step" in message and "molecules" not in message
