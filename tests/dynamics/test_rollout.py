import pytest
import torch
from torch_geometric.data import Batch

from lieconv_pyg.dynamics import (
    FC,
    HLieResNet,
    Springs,
    Trajectories,
    rollout,
    rollout_errors,
)
from lieconv_pyg.groups import T

from .conftest import steep


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    found = Trajectories(
        tmp_path_factory.mktemp("springs"),
        Springs(num_particles=(3, 6)),
        num_systems=4,
        num_states=51,
        chunk=None,
        progress=False,
    )
    return Batch.from_data_list(list(found))


def test_the_true_system_has_no_errors(data):
    path = rollout(Springs(), data, method="yoshida4", substeps=10)
    errors = rollout_errors(path, Springs(), data)
    assert errors.times.shape == (51,) and errors.state.shape == (4, 51)
    for name in ("state", "energy", "linear", "angular"):
        assert getattr(errors, name).max() < 1e-4, name
    assert errors.diverged_at.isnan().all()


def test_errors_of_a_network(data):
    """By hand: those of the states, and of what the true system keeps."""
    network = steep(HLieResNet(T(2), hidden_channels=16, num_layers=1))
    run = rollout(network, data, substeps=2)
    errors = rollout_errors(run, Springs(), data)
    own = data.batch == 2
    off = torch.stack([run.pos - data.pos, run.momentum - data.momentum])[:, own, 30]
    off = float(off.square().mean().sqrt())
    assert float(errors.state[2, 30]) == pytest.approx(off)
    assert errors.state[:, 0].max() == 0 and errors.state[:, -1].min() > 0.01
    assert errors.linear.max() < 1e-12 and errors.angular[:, -1].min() > 1e-4
    system, x = Springs(), data.x[own]
    one = torch.zeros(len(x), dtype=torch.long)
    energy = [
        system.hamiltonian(x, run.pos[own, k], run.momentum[own, k], one, 1)
        for k in (0, 30)
    ]
    kinetic = (data.momentum[own].square().sum(2) / 2 / x[:, :1]).sum(0).max()
    expected = (energy[1] - energy[0]).abs() / kinetic
    assert float(errors.energy[2, 30]) == pytest.approx(float(expected))


def test_in_the_networks_precision(data):
    network = FC(6)
    six = Batch.from_data_list([d for d in data.to_data_list() if len(d.x) == 6])
    path = rollout(network, six)
    assert path.pos.dtype == torch.float
    assert rollout_errors(path, Springs(), six).state.dtype == torch.double


def test_rollouts_that_diverge(data):
    """NaN from when they did, and no other."""
    network = steep(HLieResNet(T(2), hidden_channels=16, num_layers=1))
    with torch.no_grad():
        network.net.lin_out.weight *= 1e10
    errors = rollout_errors(rollout(network, data), Springs(), data)
    late = errors.times >= errors.diverged_at.unsqueeze(1)
    assert late.any() and errors.state.isnan().equal(late)


def test_steps_that_differ(data):
    items = data.to_data_list()
    items[0].t = 2 * items[0].t
    with pytest.raises(ValueError, match=r"the same steps .got \[0\.01, 0\.02\]"):
        rollout(Springs(), Batch.from_data_list(items))
