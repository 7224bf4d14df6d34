import shutil
from pathlib import Path

import pytest
import torch
from ase.build import molecule

import lieconv_pyg
from lieconv_pyg.checkpoints import (
    FORMAT,
    build,
    check_trusted,
    differences,
    read_checkpoint,
)
from lieconv_pyg.cli import UsageError, fit, main
from lieconv_pyg.nn.graph_net import GraphNet
from lieconv_pyg.training import MoleculeDataModule
from tests.runs import TINY, TINY_SE3

NETWORK = "--model.network.init_args."


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs of both networks: their best checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        name: fit([*args, f"--output={folder / name}"], table=False)
        for name, args in (("graph_net", TINY), ("se3", TINY_SE3))
    }


@pytest.fixture
def checkpoint(trained, tmp_path):
    """A copy of the SE(3) checkpoint, to be spoilt."""
    path = tmp_path / "copy.ckpt"
    shutil.copy(trained["se3"].checkpoint, path)
    return path


def change(path, **entries):
    content = torch.load(path, weights_only=True)
    content.update(entries)
    torch.save(content, path)


@pytest.mark.parametrize("name", ["graph_net", "se3"])
def test_load_gives_the_model_that_was_tested(trained, name):
    run = trained[name]
    model = lieconv_pyg.load(run.checkpoint)
    assert not model.training
    assert model.target == run.target and model.target.unit == "kcal/mol"
    data = MoleculeDataModule("g2", "ZPE", limit=[24, 8, 9], batch_size=8)
    predicted = torch.cat(
        [model(b.z, b.pos, b.batch) for b in data.test_dataloader()]
    ).detach()
    torch.testing.assert_close(predicted, run.predictions.predicted)


def test_load_reads_no_configuration_file(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the checkpoint alone, in another folder
    model = lieconv_pyg.load("copy.ckpt", device="cpu")
    water = molecule("H2O")
    z, pos = torch.tensor(water.numbers), torch.tensor(water.positions)
    assert model.double()(z, pos).shape == (1,)


def test_load_into_a_network_of_ones_own(trained):
    network = GraphNet(hidden_channels=8, num_layers=1)
    model = lieconv_pyg.load(trained["graph_net"].checkpoint, network=network)
    assert model.network is network
    wide = GraphNet(hidden_channels=16, num_layers=1)
    with pytest.raises(ValueError, match=r"other shapes: .*\(1, 8\) there, \(1, 16\)"):
        lieconv_pyg.load(trained["graph_net"].checkpoint, network=wide)
    deep = GraphNet(hidden_channels=8, num_layers=2)
    with pytest.raises(ValueError, match=r"it lacks network\.layers\.1"):
        lieconv_pyg.load(trained["graph_net"].checkpoint, network=deep)


class Ran(Exception):
    pass


class Bad:
    def __reduce__(self):
        return exec, ("raise RuntimeError('code of the file ran')",)


def test_no_code_of_the_file_runs(checkpoint):
    network = torch.load(checkpoint, weights_only=True)["hyper_parameters"]["network"]
    for path in ("os.system", "subprocess.Popen", "tests.test_checkpoints.Ran"):
        change(checkpoint, hyper_parameters={"network": {"class_path": path}})
        with pytest.raises(ValueError, match=f"names {path}, which is no layer"):
            lieconv_pyg.load(checkpoint)
    network["init_args"]["group"]["class_path"] = "os.system"
    change(checkpoint, hyper_parameters={"network": network})
    with pytest.raises(ValueError, match=r"names os\.system"):
        lieconv_pyg.load(checkpoint)
    change(checkpoint, more=Bad())
    with pytest.raises(ValueError, match="is not a whole checkpoint"):
        lieconv_pyg.load(checkpoint)


def test_configuration_of_a_checkpoint_is_not_trusted_either(checkpoint, capsys):
    config = torch.load(checkpoint, weights_only=True)["config"]
    config["model"]["network"] = {"class_path": "tests.test_checkpoints.Ran"}
    change(checkpoint, config=config)
    assert main(["test", f"--ckpt_path={checkpoint}"]) == 2
    assert "names tests.test_checkpoints.Ran" in capsys.readouterr().err


POPEN = {
    "class_path": "lightning.pytorch.strategies.launchers.subprocess_script"
    ".subprocess.Popen",
    "init_args": {"args": "touch written", "shell": True},
}


@pytest.mark.parametrize(
    "trainer",
    [
        {"callbacks": [{"class_path": "tests.test_checkpoints.Ran"}]},
        {
            "strategy": {
                "class_path": "lightning.pytorch.strategies.DDPStrategy",
                "init_args": {"ddp_comm_state": POPEN},
            }
        },
        {
            "callbacks": {
                "class_path": "LambdaCallback",
                "init_args": {"on_fit_start": "lieconv_pyg.checkpoints.os.getcwd"},
            }
        },
    ],
)
def test_no_part_of_the_trainer_is_taken(trainer, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = torch.load(checkpoint, weights_only=True)["config"]
    config["trainer"] |= trainer
    change(checkpoint, config=config)
    with pytest.raises(UsageError, match=r"names \S+ for the trainer"):
        fit([f"--ckpt_path={checkpoint}", "--output=run"])
    assert [path.name for path in tmp_path.iterdir()] == ["copy.ckpt"]


def test_no_other_file_is_read(checkpoint, tmp_path, capsys):
    (tmp_path / "odd.yaml").write_text("class_path: tests.test_checkpoints.Ran\n")
    config = torch.load(checkpoint, weights_only=True)["config"]
    config["model"]["network"] = str(tmp_path / "odd.yaml")
    change(checkpoint, config=config)
    assert main(["test", f"--ckpt_path={checkpoint}"]) == 2
    assert "odd.yaml, which is no layer" in capsys.readouterr().err


def test_paths_with_dots_are_no_classes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit([*TINY, "--output=run.v1", "--trainer.default_root_dir=exp.v1"], table=False)
    more = ["--output=run.v1", "--ckpt_path=last", "--trainer.max_epochs=3"]
    assert len(fit(more, table=False).history) == 3


@pytest.mark.parametrize(
    "name",
    [
        "lieconv_pyg.training.quiet.logging.FileHandler",  # another's, by this package
        "lieconv_pyg.checkpoints.os.system",
        "lieconv_pyg.checkpoints.load",  # no class
        "lieconv_pyg.training.MoleculeDataModule",  # neither layer nor group
        "torch_geometric.nn.Sequential",  # writes code
        "torch.nn.parallel.DistributedDataParallel",
        "EGNN",
    ],
)
def test_names_that_are_no_networks(name):
    for config in ({"class_path": name}, {"init_args": {"hook": [name]}}):
        if "." not in name and "class_path" not in config:
            continue
        with pytest.raises(ValueError, match=f"a.ckpt names {name}, which is no"):
            check_trusted(config, (), "a.ckpt")


def test_trust():
    config = {"class_path": "tests.nets.Mine", "init_args": {"pool": "mean"}}
    check_trusted(config, ["tests"], "a.ckpt")
    with pytest.raises(ValueError, match=r"names tests\.nets\.Mine"):
        check_trusted(config, ["test"], "a.ckpt")
    check_trusted({"pool": "sum", "sizes": [1.5, "a b.c"]}, (), "a.ckpt")


def test_build():
    made = build(
        {
            "class_path": "lieconv_pyg.nn.MoleculeLieResNet",
            "init_args": {
                "group": {"class_path": "lieconv_pyg.groups.SE3"},
                "hidden_channels": [8, 8],
                "num_layers": 1,
            },
        }
    )
    assert str(made.net.group) == "SE3(alpha=0.2)"
    with pytest.raises(ValueError, match=r"no class torch\.nn\.Nothing"):
        build({"class_path": "torch.nn.Nothing"})
    with pytest.raises(ValueError, match="neither a module nor a group"):
        build({"class_path": "torch.nn.functional.relu"})


def test_other_versions(checkpoint):
    version = lieconv_pyg.__version__
    change(checkpoint, lieconv_pyg={"version": "0.0.9", "format": FORMAT})
    with pytest.warns(UserWarning, match=f"by lieconv_pyg 0.0.9, this is {version}"):
        lieconv_pyg.load(checkpoint)
    change(checkpoint, lieconv_pyg={"version": "9.0", "format": 7})
    with pytest.raises(ValueError, match=r"by lieconv_pyg 9\.0 in format 7; this is"):
        lieconv_pyg.load(checkpoint)


def test_files_that_are_none(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.ckpt"):
        read_checkpoint(tmp_path / "none.ckpt")
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"copy\.ckpt is not a whole checkpoint"):
        read_checkpoint(checkpoint)
    Path(checkpoint).write_text("text")
    with pytest.raises(ValueError, match="is not a whole checkpoint"):
        read_checkpoint(checkpoint)
    torch.save({"state_dict": {}}, checkpoint)
    with pytest.raises(ValueError, match="is not a checkpoint of lieconv_pyg"):
        read_checkpoint(checkpoint)


def test_network_built_in_python(checkpoint):
    change(checkpoint, hyper_parameters={"lr": 0.003, "warmup": 0.01})
    with pytest.raises(ValueError, match="give it as 'network'"):
        lieconv_pyg.load(checkpoint)


def test_differences():
    there = {"a": {"b": 1, "c": [1, 2]}, "d": {"class_path": "T", "init_args": {}}}
    assert differences(there, there) == []
    here = {"a": {"b": 2, "c": [1, 2], "e": 0}, "d": None}
    assert differences(there, here, "model") == [
        "model.a.b: 1 in the checkpoint, 2 here",
        "model.a.e: None in the checkpoint, 0 here",
        "model.d: T in the checkpoint, None here",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ([f"{NETWORK}hidden_channels=16"], "hidden_channels: 8 in the checkpoint, 16"),
        (
            [f"{NETWORK}group=lieconv_pyg.groups.SO3"],
            "group: lieconv_pyg.groups.SE3 in the checkpoint, "
            "lieconv_pyg.groups.SO3 here",
        ),
        (["--data.limit=[23,8,9]"], "data.limit: [24, 8, 9] in the checkpoint, [23"),
        (["--data.split_seed=1"], "data.split_seed: 0 in the checkpoint, 1 here"),
        (["--data.target=enthalpy"], "data.target: ZPE in the checkpoint, enthalpy"),
        (["--model.lr=1"], "model.lr: 0.003 in the checkpoint, 1.0 here"),
    ],
)
def test_going_on_with_another_run(trained, tmp_path, changed, message, capsys):
    path = trained["se3"].checkpoint
    args = [f"--ckpt_path={path}", f"--output={tmp_path / 'run'}", *changed]
    assert main(["fit", *args]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert "is of another run" in err
    assert not (tmp_path / "run").exists()


def test_testing_on_other_data(trained, capsys):
    path = trained["se3"].checkpoint
    assert main(["test", f"--ckpt_path={path}", "--data.split_seed=1"]) == 0
    out, err = capsys.readouterr()
    assert "data.split_seed: 0 in the checkpoint, 1 here" in err
    assert "MoleculeLieResNet SE3" in out
    assert main(["test", f"--ckpt_path={path}", "--data.target=enthalpy"]) == 2
    assert "checkpoint is for the target ZPE" in capsys.readouterr().err
    assert main(["test", f"--ckpt_path={path}", f"{NETWORK}num_layers=3"]) == 2
    assert "num_layers: 2 in the checkpoint, 3 here" in capsys.readouterr().err
