"""Training of energies with forces, and of vectors."""

import pytest
import torch
from ase.io import write
from lightning.pytorch import seed_everything
from torch_geometric.nn.models.schnet import GaussianSmearing

from lieconv_pyg.groups import SE3, SO3, T
from lieconv_pyg.nn import MoleculeLieResNet
from lieconv_pyg.nn.graph_net import GraphNet
from lieconv_pyg.training import MoleculeDataModule, MoleculeModule
from tests.molecules import distorted
from tests.training.test_molecule_module import trainer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Distorted molecules with energies, forces and made-up dipoles."""
    path = tmp_path_factory.mktemp("files")
    names = ["H2O", "CH4", "CH3OH"]
    frames = [distorted(names[i % 3], i, 0.05) for i in range(60)]
    write(path / "emt.extxyz", frames)
    return path


def md_data(folder, target="energy", **kwargs):
    path = str(folder / "emt.extxyz")
    return MoleculeDataModule(path, target, batch_size=8, **kwargs)


def network(group=None, **kwargs):
    torch.manual_seed(0)
    settings = {"hidden_channels": 16, "num_layers": 2, "radius": 0.8, "norm": None}
    settings |= {"species": (1, 6, 8), "envelope": True, **kwargs}
    return MoleculeLieResNet(group or T(3), **settings)


def test_loss_has_forces(folder):
    data = md_data(folder)
    module = MoleculeModule(network(), force_weight=0.5).double()
    module.set_target(data.target, data.statistics)
    batch = next(iter(data.val_dataloader()))
    out, y, (forces, true_forces) = module.eval()._compare(batch)
    torch.testing.assert_close(true_forces, batch.forces, check_dtype=False)
    scale = data.parts[0].forces.abs().mean()
    force_loss = (forces - true_forces).abs().mean() / scale
    expected = (out - y).abs().mean() + 0.5 * force_loss
    torch.testing.assert_close(module._loss(module._compare(batch)), expected)
    # The forces are those of the energy in its unit.
    pos, step = batch.pos.double(), 1e-5
    for atom, axis in [(0, 0), (4, 2)]:
        shift = torch.zeros_like(pos)
        shift[atom, axis] = step
        with torch.no_grad():
            up = module(batch.z, pos + shift, batch.batch).sum()
            down = module(batch.z, pos - shift, batch.batch).sum()
        difference = -(up - down) / (2 * step)
        assert forces[atom, axis].item() == pytest.approx(difference.item(), abs=1e-6)


def test_forces_are_learned(folder, tmp_path):
    seed_everything(0)
    data = md_data(folder)
    net = network(
        norm="layer_norm", radial_basis=GaussianSmearing(0.0, 0.8, 16), pool="sum"
    )
    module = MoleculeModule(net, lr=1e-2, force_weight=100.0)
    run = trainer(tmp_path, max_epochs=40, inference_mode=False)
    before = data.parts[2].forces.abs().mean().item()  # what no force at all misses
    run.fit(module, datamodule=data)
    assert {"train/force_mae", "val/force_mae"} <= set(run.callback_metrics)
    (result,) = run.test(module, data, verbose=False)
    assert result["test/force_mae"] < 0.6 * before
    # A gradient reached the weights through the forces: with them alone too.
    module.zero_grad()
    batch = next(iter(data.val_dataloader()))
    found, wanted = module.train()._compare(batch).forces
    (found - wanted).abs().mean().backward()
    assert net.net.lin_in.weight.grad.abs().max() > 0


def test_forces_need_gradients(folder, tmp_path):
    module = MoleculeModule(network(), force_weight=1.0)
    with pytest.raises(ValueError, match="inference_mode=False"):
        trainer(tmp_path).test(module, md_data(folder))


def test_batch_norm_has_no_forces():
    for net in (GraphNet(1, 8, 1), network(norm="batch_norm")):
        with pytest.raises(ValueError, match="norm to null or layer_norm"):
            MoleculeModule(net, force_weight=1.0)
    MoleculeModule(network(norm="layer_norm"), force_weight=1.0)
    with pytest.raises(ValueError, match="force_weight must be positive"):
        MoleculeModule(network(), force_weight=0.0)


def test_data_without_forces(data, tmp_path):
    net = network(species=tuple(range(1, 20)))
    with pytest.raises(ValueError, match=r"force_weight is set, and .* has no forces"):
        trainer(tmp_path).fit(MoleculeModule(net, force_weight=1.0), datamodule=data)


@pytest.mark.parametrize("group", [SE3(), SO3()])
def test_vectors_are_learned_and_turn(folder, tmp_path, group):
    seed_everything(0)
    data = md_data(folder, "dipole")
    assert data.target.num_components == 3
    net = network(
        group, lift="frames", radius=None, envelope=None, out_vectors=True, pool="sum"
    )
    module = MoleculeModule(net, lr=5e-3)
    run = trainer(tmp_path, max_epochs=30)
    run.fit(module, datamodule=data)
    (result,) = run.test(module, data, verbose=False)
    zero = data.parts[2].y.abs().mean().item()
    assert result["test/mae"] < 0.6 * zero
    module = module.double().eval()
    one = data.parts[2][0]
    turn = SO3().sample(1, dtype=torch.float64)[0]
    dipole = module(one.z, one.pos.double())
    turned = module(one.z, one.pos.double() @ turn.T)
    torch.testing.assert_close(turned, dipole @ turn.T, rtol=0, atol=1e-10)
    assert dipole.shape == (1, 3)


def test_vectors_need_a_network_of_vectors(folder, tmp_path):
    with pytest.raises(ValueError, match=r"dipole is a vector, .* out_vectors True"):
        trainer(tmp_path).fit(MoleculeModule(network()), md_data(folder, "dipole"))
    net = network(out_vectors=True)
    with pytest.raises(ValueError, match=r"energy is a number, .* out_vectors False"):
        trainer(tmp_path).fit(MoleculeModule(net), md_data(folder))
