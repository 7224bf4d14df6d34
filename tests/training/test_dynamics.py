"""Training of dynamics."""

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

from lieconv_pyg.dynamics import FC, HFC, OGN, HLieResNet, Springs
from lieconv_pyg.groups import SE2, T
from lieconv_pyg.training import (
    DivergenceError,
    DynamicsDataModule,
    DynamicsModule,
    quiet,
)
from lieconv_pyg.training.dynamics_report import free_motion_error


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp("springs"))


def data(root, **kwargs):
    settings = dict(num_systems=(40, 8, 8), num_states=40, batch_size=20, num_chunks=2)
    settings |= dict(num_rollouts=3)
    return DynamicsDataModule(root=root, **{**settings, **kwargs})


def fit(module, data, **kwargs):
    settings = dict(max_epochs=4, logger=False, enable_checkpointing=False)
    settings |= dict(enable_progress_bar=False, enable_model_summary=False)
    settings |= dict(accelerator="cpu", inference_mode=False)
    with quiet():
        trainer = Trainer(**{**settings, **kwargs})
        trainer.fit(module, data)
        train = float(trainer.callback_metrics["train/loss"])
        (found,) = trainer.test(module, data, verbose=False)
    return found["test/loss"], train


@pytest.mark.parametrize(
    "network,lr",
    [
        (lambda: FC(hidden_channels=64), 1e-2),
        (lambda: HFC(hidden_channels=64), 1e-2),
        (lambda: HLieResNet(T(2), hidden_channels=16, num_layers=1), 2e-2),
    ],
)
def test_learns(network, lr, root):
    seed_everything(0, verbose=False)
    _, before = fit(DynamicsModule(network(), lr=1e-9), data(root), max_epochs=1)
    _, after = fit(DynamicsModule(network(), lr=lr), data(root), max_epochs=15)
    assert after < 0.8 * before


def test_recompute_changes_nothing(root):
    losses = []
    for recompute in (False, True):
        seed_everything(1, verbose=False)
        network = HLieResNet(T(2), hidden_channels=16, num_layers=1)
        module = DynamicsModule(network, recompute=recompute)
        losses.append(fit(module, data(root), max_epochs=2))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own
def test_compiled(root):
    losses = []
    for compile in (False, True):
        seed_everything(1, verbose=False)
        module = DynamicsModule(FC(hidden_channels=16, num_layers=1), compile=compile)
        losses.append(fit(module, data(root), max_epochs=2))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert (module.network._compiled_call_impl is None) != compile


def test_the_loss_is_a_mean_over_systems(tmp_path):
    """Whatever the batches are, where systems have different numbers of particles."""
    torch.manual_seed(0)
    module = DynamicsModule(HLieResNet(T(2), hidden_channels=8, num_layers=1).double())
    losses = []
    for size in (1, 3, 8):
        part = data(str(tmp_path), system=Springs(num_particles=(2, 6)))
        part.batch_size = size
        settings = dict(logger=False, accelerator="cpu", inference_mode=False)
        trainer = Trainer(**settings, enable_progress_bar=False)
        with quiet():
            (found,) = trainer.test(module, part, verbose=False)
        losses.append(found["test/loss"])
    each = [module.loss(Batch.from_data_list([item])).item() for item in part.parts[2]]
    assert losses == pytest.approx([sum(each) / len(each)] * 3, rel=1e-5)


def test_recompute_in_half_precision(root):
    """Derivatives are computed again in the precision that they were computed in."""
    batch = next(iter(data(root).val_dataloader()))
    network = OGN(hidden_channels=16)
    seen = []
    network.lin.register_forward_hook(lambda _, inputs, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss = DynamicsModule(network, recompute=True).loss(batch)
    loss.backward()
    assert seen == [torch.bfloat16] * 32


def test_free_motion(root):
    """The error of dynamics without forces."""

    class Free(Springs):
        def force(self, x, pos, batch, batch_size):
            return torch.zeros_like(pos)

    part = data(root)
    (batch,) = part.test_dataloader()
    expected = DynamicsModule(Free()).double().loss(batch).item()
    assert free_motion_error(part.parts[2]) == pytest.approx(expected, rel=1e-9)


class Pinned(Springs):
    """Held by springs to the origin too."""

    def potential(self, x, pos, batch, batch_size):
        own = scatter(pos.square().sum(1), batch, 0, batch_size, "sum")
        return super().potential(x, pos, batch, batch_size) + own

    def force(self, x, pos, batch, batch_size):
        return super().force(x, pos, batch, batch_size) - 2 * pos


def test_a_system_that_depends_on_where_it_is(root):
    part = data(root, system=Pinned())
    with pytest.warns(UserWarning, match="set its center to false"):
        DynamicsModule(HFC()).check(part)
    DynamicsModule(HFC(center=False)).check(part)
    DynamicsModule(HFC()).check(data(root))


def test_inference_mode(root):
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    with quiet(), pytest.raises(ValueError, match="inference_mode=False"):
        trainer.test(DynamicsModule(HFC(hidden_channels=8)), data(root), verbose=False)


def test_rollouts_that_diverge(root):
    """A test says when; a training stops and says when."""
    module = DynamicsModule(OGN(hidden_channels=8, num_layers=1), lr=1e-3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1e15)
    trainer = Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    with quiet(), pytest.warns(UserWarning, match=r"diverge, .* at t = 0\.0"):
        trainer.test(module, data(root), verbose=False)
    with pytest.raises(DivergenceError, match=r"in rollouts that diverge at t = 0\.0"):
        fit(module, data(root))


def test_the_loss_of_the_true_system_is_none(root):
    part = data(root)
    batch = next(iter(part.val_dataloader()))
    module = DynamicsModule(Springs(), substeps=8).double()
    found = module(batch)
    true = torch.cat([batch.pos, batch.momentum], dim=2).transpose(0, 1)
    torch.testing.assert_close(found, true, rtol=0, atol=1e-6)
    assert found[0].equal(true[0])


def test_parts(root):
    part = data(root)
    assert [len(p) for p in part.parts] == [80, 16, 16]
    assert all(b.num_graphs == 20 for b in part.train_dataloader())
    assert part.parts[0] is part.parts[0]
    whole = part.rollouts()
    assert whole.num_graphs == 3 and whole.pos.size(1) == 40
    first = part.parts[2][0]  # some chunk of the first system
    near = (whole.get_example(0).pos[:, :, None] - first.pos[:, None]).abs().sum((0, 3))
    assert bool((near.min(0).values < 1e-12).all())
    assert (
        "80 training, 16 validation and 16 test chunks of 5 states" in part.describe()
    )


def test_radii_are_found_before_training(root):
    network = HLieResNet(SE2(), hidden_channels=16, num_layers=1, fill=0.5)
    fit(DynamicsModule(network), data(root), max_epochs=1)
    assert network.net.neighborhoods[0].is_calibrated


@pytest.mark.parametrize(
    "make,match",
    [
        (lambda: DynamicsModule(FC(), lr=0), "lr must be positive"),
        (lambda: DynamicsModule(FC(), warmup=1), "warmup must be in"),
        (lambda: DynamicsModule(FC(), substeps=0), "substeps must be at least 1"),
        (lambda: DynamicsModule(HFC(), compile=True), "differentiated twice"),
        (lambda: DynamicsDataModule(batch_size=0), "batch_size must be at least 1"),
        (
            lambda: DynamicsDataModule(num_systems=(50, 1, 1)),
            "batch_size 200 is more than the 50 training chunks",
        ),
    ],
)
def test_bad_arguments(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    "network,match",
    [
        (lambda: FC(5), "built for systems of 5 particles"),
        (lambda: FC(space_dim=3), "built for 3 coordinates"),
        (lambda: HLieResNet(T(2), num_params=1), "built for 1 parameters"),
    ],
)
def test_networks_that_do_not_fit_the_data(network, match, root):
    with pytest.raises(ValueError, match=match):
        fit(DynamicsModule(network()), data(root))
