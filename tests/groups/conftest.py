import pytest
import torch

from tests.groups.cases import CLOSED_FORM, MATRIX

EVERY = {**{repr(group): group for group in CLOSED_FORM}, **MATRIX}


@pytest.fixture(params=CLOSED_FORM, ids=repr)
def group(request):
    """Every group with closed forms."""
    return request.param


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def any_group(request):
    """Every group, the numeric ones included."""
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
