"""Small runs of the command ``lieconv``, for tests."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CONFIGS = EXAMPLES / "configs"
#: 24 molecules of G2, of 8 a step, for two epochs.
TINY_DATA = [
    "--data.dataset=g2",
    "--data.target=ZPE",
    "--data.limit=[24,8,9]",
    "--data.batch_size=8",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=2",
]
TINY = [
    *TINY_DATA,
    "--model.network=lieconv_pyg.nn.graph_net.GraphNet",
    "--model.network.init_args.hidden_channels=8",
    "--model.network.init_args.num_layers=1",
]
SPECIES = "--model.network.init_args.species=[1,3,4,5,6,7,8,9,11,13,14,15,16,17]"
#: The same with LieConv, where lifts, neighbours and rotations are random.
TINY_SE3 = [
    *TINY_DATA,
    "--model.network=lieconv_pyg.nn.MoleculeLieResNet",
    "--model.network.init_args.group.class_path=lieconv_pyg.groups.SE3",
    SPECIES,
    "--model.network.init_args.hidden_channels=8",
    "--model.network.init_args.num_layers=2",
    "--model.network.init_args.num_neighbors=4",
    "--model.network.init_args.fill=0.5",
]


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Runs the test in a folder of its own, without QM9."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIECONV_QM9_ROOT", raising=False)
    return tmp_path
