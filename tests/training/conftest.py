import pytest
import torch

from lieconv_pyg.nn.graph_net import GraphNet
from lieconv_pyg.training import MoleculeDataModule, quiet


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


@pytest.fixture
def data():
    return MoleculeDataModule("g2", "ZPE", limit=[20, 7, 9], batch_size=8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return GraphNet(hidden_channels=8, num_layers=1)
