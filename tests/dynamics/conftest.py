import pytest
import torch
from torch_geometric.data import Batch

from lieconv_pyg.dynamics import Springs


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make_state(system=None, num_systems=3, seed=0):
    """Parameters, positions, momenta and batch vector of a few systems."""
    system = system or Springs(num_particles=(4, 6, 5))
    batch = Batch.from_data_list(system.sample(num_systems, seed))
    return batch.x, batch.pos, batch.momentum, batch.batch


def rotation(dim, seed=1):
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(
        torch.randn(dim, dim, dtype=torch.double, generator=generator)
    )
    return q if torch.det(q) > 0 else q * torch.tensor([-1.0] + [1.0] * (dim - 1))


def steep(network):
    """Gives a network weights with which its outputs depend on the inputs much."""
    generator = torch.Generator().manual_seed(2)
    for parameter in network.parameters():
        size = 1.3 / parameter.size(1) ** 0.5 if parameter.dim() == 2 else 0.1
        with torch.no_grad():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(size * noise)
    return network.double()
