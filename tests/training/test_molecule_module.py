import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch_geometric.data import Batch

from lieconv_pyg.datasets import Target
from lieconv_pyg.nn.graph_net import GraphNet
from lieconv_pyg.nn.pyg_models import DimeNetPlusPlus, SchNet
from lieconv_pyg.training import MoleculeDataModule, MoleculeModule
from lieconv_pyg.training.molecule_module import check_species


class Calibrated(GraphNet):
    """Notes what it is calibrated on."""

    def __init__(self):
        super().__init__(hidden_channels=8, num_layers=1)
        self.register_buffer("radius", torch.tensor(float("nan")))
        self.calls = 0

    def calibrate(self, pos, batch):
        self.calls += 1
        self.radius.fill_(pos.norm(dim=1).mean())

    def forward(self, z, pos, batch=None):
        assert self.radius.isfinite()
        return super().forward(z, pos, batch)


def trainer(folder, **kwargs):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 2,
        "default_root_dir": folder,
        **kwargs,
    }
    return Trainer(**settings)


def test_loss_is_of_the_normalised_target(data, network):
    module = MoleculeModule(network)
    module.set_target(data.target, data.statistics)
    batch = Batch.from_data_list([data.parts[1][i] for i in range(7)])
    module.eval()
    out, y, forces = module._compare(batch)
    assert forces is None
    s = data.statistics
    expected = [
        (d.y.item() - s.references[d.z].sum().item() - s.median) / s.mad
        for d in data.parts[1]
    ]
    assert y.tolist() == pytest.approx(expected, rel=1e-4)
    assert y.dtype == torch.float32
    physical = module(batch.z, batch.pos, batch.batch)
    assert physical.dtype == torch.float64
    error = (physical - batch.y.view(-1)).tolist()
    assert error == pytest.approx(((out - y) * s.mad).tolist(), abs=1e-4)
    one = data.parts[1][0]
    assert module(one.z, one.pos)[0].item() == pytest.approx(
        physical[0].item(), rel=1e-5
    )


def test_total_energies_keep_their_digits(network):
    # In float32 a total energy of -1e7 meV is known to 1 meV only.
    module = MoleculeModule(network)
    module.references[1] = -1e7
    module.references[8] = -2e9
    z, batch = torch.tensor([8, 1]), torch.zeros(2).long()
    total = module.offset(z, batch, 1) + 0.125
    assert (total - module.offset(z, batch, 1)).item() == 0.125


def test_training_validation_test(data, tmp_path):
    seed_everything(0)
    module = MoleculeModule(Calibrated(), lr=1e-2)
    run = trainer(tmp_path, max_epochs=3)
    run.fit(module, datamodule=data)
    assert {"train/loss", "train/mae", "val/mae"} <= set(run.callback_metrics)
    assert module.network.calls == 1
    assert module.target == data.target
    mae = run.callback_metrics["train/mae"] / run.callback_metrics["train/loss"]
    assert mae.item() == pytest.approx(data.statistics.mad, rel=1e-5)

    (result,) = run.test(module, datamodule=data, verbose=False)
    module.eval()
    test = Batch.from_data_list(list(data.parts[2]))
    with torch.no_grad():
        error = module(test.z, test.pos, test.batch) - test.y.view(-1)
    assert result["test/mae"] == pytest.approx(error.abs().mean().item(), rel=1e-4)
    (predicted, rest) = run.predict(module, data.test_dataloader())
    assert len(predicted) + len(rest) == 9


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(data, network, tmp_path, precision):
    module = MoleculeModule(network)
    run = trainer(tmp_path, precision=precision, max_epochs=1)
    run.fit(module, datamodule=data)
    assert run.callback_metrics["val/mae"].isfinite()
    assert module.mad.dtype == torch.float64


def test_learning_rate_ends_at_zero(data, network, tmp_path):
    module = MoleculeModule(network, lr=1e-2)
    run = trainer(tmp_path)
    run.fit(module, datamodule=data)
    (optimizer,) = run.optimizers
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    assert run.global_step == 4


def test_checkpoint_holds_plain_values(data, tmp_path):
    module = MoleculeModule(Calibrated(), lr=1e-2)
    run = trainer(tmp_path)
    run.fit(module, datamodule=data)
    path = tmp_path / "model.ckpt"
    run.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["target"]["name"] == "ZPE"
    assert checkpoint["hyper_parameters"] == {
        "lr": 1e-2,
        "warmup": 0.01,
        "force_weight": None,
        "symmetry_weight": 1e-4,
    }

    loaded = MoleculeModule.load_from_checkpoint(
        path, network=Calibrated(), weights_only=True
    ).eval()
    assert loaded.target == Target("ZPE", "kcal/mol", True, data.target.description)
    assert loaded.mad.item() == data.statistics.mad
    assert loaded.network.radius == module.network.radius
    batch = data.calibration_batch()
    module.eval()
    assert torch.equal(
        loaded(batch.z, batch.pos, batch.batch), module(batch.z, batch.pos, batch.batch)
    )


def test_checkpoint_of_another_target(data, network, tmp_path):
    module = MoleculeModule(network)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(module, datamodule=data)
    run.save_checkpoint(tmp_path / "zpe.ckpt")
    other = MoleculeDataModule("g2", "enthalpy", batch_size=8)
    with pytest.raises(ValueError, match=r"is for the target ZPE .* have enthalpy"):
        trainer(tmp_path).test(
            MoleculeModule(GraphNet(1, 8, 1)), other, tmp_path / "zpe.ckpt"
        )


def test_unknown_elements(data, tmp_path):
    network = GraphNet(1, 8, 1)
    network.species = (1, 6)
    with pytest.raises(ValueError, match=r"set its species to \[1, .*17\]"):
        trainer(tmp_path).fit(MoleculeModule(network), datamodule=data)
    small = {"hidden_channels": 8, "num_spherical": 2, "num_blocks": 1}
    for network, last in [(SchNet(8, 8, 1), 99), (DimeNetPlusPlus(**small), 94)]:
        name = type(network).__name__
        check_species(network, [1, last])
        with pytest.raises(ValueError, match=rf"\[{last + 1}\]: {name} .* to {last}"):
            check_species(network, [1, last + 1])


def test_bad_arguments(network):
    with pytest.raises(ValueError, match="lr must be positive"):
        MoleculeModule(network, lr=0)
    with pytest.raises(ValueError, match="warmup"):
        MoleculeModule(network, warmup=1.5)


def test_endless_training(data, network, tmp_path):
    run = trainer(tmp_path, max_epochs=-1)
    with pytest.raises(ValueError, match=r"max_epochs or trainer\.max_steps"):
        run.fit(MoleculeModule(network), datamodule=data)
