import pytest
import torch

from lieconv_pyg.groups import SO3


def unit(size, i, j):
    out = torch.zeros(size, size, dtype=torch.double)
    out[i, j] = 1
    return out


@pytest.fixture
def lorentz():
    """Boosts and rotations (6, 4, 4)."""
    boosts = [unit(4, 0, i) + unit(4, i, 0) for i in (1, 2, 3)]
    pairs = ((1, 2), (2, 3), (3, 1))
    return torch.stack(boosts + [unit(4, i, j) - unit(4, j, i) for i, j in pairs])


@pytest.fixture
def spin():
    """The rotations of two bodies in the plane: positions and momenta turn alike."""
    turn = unit(2, 0, 1) - unit(2, 1, 0)
    return torch.block_diag(turn, turn, turn, turn).unsqueeze(0)


@pytest.fixture
def so3():
    return SO3().hat(torch.eye(3).double())


def mixed(basis, channels, noise=0.0, seed=0):
    """Other combinations of generators, some of them superfluous."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(channels, len(basis), generator=random).double()
    mix = torch.linalg.qr(mix).Q
    out = torch.einsum("ci,ijk->cjk", mix, basis)
    return out + noise * torch.randn(out.shape, generator=random).double()
