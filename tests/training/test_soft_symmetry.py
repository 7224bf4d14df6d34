"""Penalties of relaxed layers in the loss of training."""

import copy

import pytest
import torch
from torch_geometric.data import Batch

from lieconv_pyg import ImageLieResNet
from lieconv_pyg.dynamics import HLieResNet
from lieconv_pyg.groups import SE2, SE3, SO2, Lorentz
from lieconv_pyg.nn import (
    JetLieResNet,
    MoleculeLieResNet,
    RelaxedLieConv,
    RPPLieConv,
    pathway_prior,
)
from lieconv_pyg.training import (
    DynamicsDataModule,
    DynamicsModule,
    ImageDataModule,
    ImageModule,
    JetDataModule,
    JetModule,
    MoleculeDataModule,
    MoleculeModule,
)

SMALL = dict(hidden_channels=8, num_layers=2)


def molecules(root, **kwargs):
    data = MoleculeDataModule("g2", "ZPE", limit=[8, 2, 2], batch_size=8)
    net = MoleculeLieResNet(SE3(), species=list(range(1, 20)), **SMALL, **kwargs)
    return MoleculeModule, net, data


def images(root, **kwargs):
    data = ImageDataModule(num_train=8, num_valid=2, num_test=2, batch_size=8)
    return ImageModule, ImageLieResNet(SO2(), **SMALL, **kwargs), data


def dynamics(root, **kwargs):
    settings = dict(num_systems=(8, 2, 2), num_states=20, batch_size=8, num_chunks=2)
    data = DynamicsDataModule(root=str(root), num_rollouts=2, **settings)
    return DynamicsModule, HLieResNet(SE2(), **SMALL, **kwargs), data


def jets(root, **kwargs):
    data = JetDataModule(num_train=8, num_valid=2, num_test=2, batch_size=8)
    return JetModule, JetLieResNet(Lorentz(), **SMALL, **kwargs), data


def step(make, root, weight, **kwargs):
    """Module, loss of a step of training, and deviations of each layer in it."""
    torch.manual_seed(0)
    kind, net, data = make(root, **kwargs)
    data.prepare_data()
    data.setup("fit")
    module = kind(net, symmetry_weight=weight).train()
    if kind is MoleculeModule:
        module.set_target(data.target, data.statistics)
    deviations = {}
    for layer in net.modules():
        if isinstance(layer, RelaxedLieConv):
            with torch.no_grad():
                layer.delta.lins[-1].bias.normal_()
                layer.delta.lins[-1].weight.normal_()
            layer.delta.register_forward_hook(
                lambda layer, _, out: deviations.update({layer: out})
            )
    batch = Batch.from_data_list([data.parts[0][i] for i in range(8)])
    pos = batch.pos if batch.pos.dim() == 2 else batch.pos[:, 0]  # of a trajectory
    module.calibrate(pos, batch.batch)
    module.log = module.log_dict = lambda *args, **kwargs: None
    module._divergence.note = lambda *args: None
    module.trainer = type("", (), {"world_size": 1})()
    torch.manual_seed(1)
    return module, module.training_step(batch, 0), list(deviations.values())


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("make", [molecules, images, dynamics, jets])
def test_penalty_is_in_the_loss(make, side, tmp_path):
    kwargs = dict(conv=RelaxedLieConv, side=side)
    _, plain, deviations = step(make, tmp_path, 0.0, **kwargs)
    module, loss, _ = step(make, tmp_path, 3.0, **kwargs)
    assert len(deviations) == 2
    expected = 3 * sum(d.square().mean() for d in deviations)
    torch.testing.assert_close(loss - plain, expected.to(loss.dtype), rtol=1e-4, atol=0)
    loss.backward()
    layer = next(m for m in module.modules() if isinstance(m, RelaxedLieConv))
    assert layer.delta.lins[0].weight.grad.abs().sum() > 0
    assert module.penalty() == 0  # nothing is left of the step
    copy.deepcopy(module.network)


@pytest.mark.parametrize("make", [molecules, images, dynamics, jets])
def test_prior_is_in_the_loss(make, tmp_path):
    _, plain, _ = step(make, tmp_path, 0.0, conv=RPPLieConv)
    module, loss, _ = step(make, tmp_path, 0.1, conv=RPPLieConv)
    expected = 0.1 * pathway_prior(module.network)
    torch.testing.assert_close(loss - plain, expected.to(loss.dtype), rtol=1e-3, atol=0)


def test_nothing_is_noted_in_evaluation(tmp_path):
    module, _, _ = step(images, tmp_path, 1.0, conv=RelaxedLieConv)
    data = images(tmp_path)[2]
    batch = Batch.from_data_list([data.parts[0][0]])
    module.eval()
    module.network(batch.x, batch.pos, batch.batch, 1)
    assert module.penalty() == 0


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_bad_weight(weight, tmp_path):
    with pytest.raises(ValueError, match="symmetry_weight must be at least 0"):
        ImageModule(images(tmp_path)[1], symmetry_weight=weight)
