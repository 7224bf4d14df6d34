import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from lieconv_pyg import LieResNet, load_original_state_dict
from lieconv_pyg.groups import T
from lieconv_pyg.nn import RelaxedLieConv

REFERENCE = Path(__file__).parents[1] / "reference" / "T3.npz"


def make(**kwargs):
    kwargs = dict(hidden_channels=16, num_layers=2) | kwargs
    return LieResNet(6, 2, T(3), **kwargs).double().eval()


@pytest.fixture
def state():
    with np.load(REFERENCE) as file:
        return {
            name.removeprefix("bn1_state/"): torch.from_numpy(file[name])
            for name in file.files
            if name.startswith("bn1_state/")
        }


def test_loads_from_data_parallel(state):
    plain, parallel = make(), make()
    load_original_state_dict(plain, state)
    load_original_state_dict(parallel, {f"module.{k}": v for k, v in state.items()})
    for one, two in zip(
        plain.state_dict().values(), parallel.state_dict().values(), strict=True
    ):
        assert one.equal(two)


def test_radii(state):
    """One graph where all radii are equal, as many as blocks where they differ."""
    model = make(fill=0.5)
    load_original_state_dict(model, state)
    assert [float(n.radius) for n in model.neighborhoods] == [1e6]

    state = {
        name: torch.tensor(float(name.split(".")[1])) if name.endswith(".r") else value
        for name, value in state.items()
    }
    model = make(fill=0.5)
    load_original_state_dict(model, state)
    assert [float(n.radius) for n in model.neighborhoods] == [1.0, 2.0]
    x, pos = torch.randn(9, 6).double(), torch.randn(9, 3).double() * 5
    with pytest.raises(RuntimeError, match="bias_is_scaled"):
        make(radius=[1.0, 2.0]).load_state_dict(model.state_dict())
    rebuilt = make(radius=[1.0, 2.0], scale_bias=True)
    rebuilt.load_state_dict(model.state_dict())
    assert model(x, pos).equal(rebuilt(x, pos))


@pytest.mark.parametrize(
    "kwargs", [dict(num_layers=3), dict(hidden_channels=24), dict(norm=None)]
)
def test_another_shape(state, kwargs):
    model = make(**kwargs)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="does not fit"):
        load_original_state_dict(model, state)
    for name, value in model.state_dict().items():
        assert value.equal(before[name]) or value.isnan().all()


def test_not_a_checkpoint():
    with pytest.raises(ValueError, match="does not fit"):
        load_original_state_dict(make(), {})
    with pytest.raises(TypeError, match="LieResNet"):
        load_original_state_dict(torch.nn.Linear(2, 2), {})
    with pytest.raises(TypeError, match="'model' must be made of 'LieConv'"):
        load_original_state_dict(make(conv=RelaxedLieConv), {})


def test_subsampling_is_said_to_differ(state):
    with pytest.warns(UserWarning, match="transposes"):
        load_original_state_dict(make(ratio=0.5), state)
