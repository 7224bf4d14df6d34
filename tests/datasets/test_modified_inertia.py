import math

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from lieconv_pyg.datasets import ModifiedInertia, modified_inertia
from lieconv_pyg.groups import SO3


def rotations(num):
    generator = torch.Generator().manual_seed(1)
    return SO3().sample(num, generator=generator, dtype=torch.double)


def points(data):
    return data.x.view(len(data), -1), data.pos.view(len(data), -1, 3)


def turned(y, R):
    return R @ y @ R.mT


@pytest.mark.parametrize("breaking", [0.0, 0.3])
def test_moments_of_inertia_as_integrals(breaking):
    """The energy of a rotation, and the formula point by point."""
    data = ModifiedInertia("val", 20, breaking, num_masses=4, seed=3)
    for item in data:
        mass, pos = item.x.view(-1).numpy(), item.pos.numpy()
        inertia = np.zeros((3, 3))
        for m, r in zip(mass, pos, strict=True):
            for a in range(3):
                for b in range(3):
                    inertia[a, b] += m * (r @ r * (a == b) - r[a] * r[b])
        omega = np.array([0.3, -1.2, 0.8])
        energy = sum(
            m * np.sum(np.cross(omega, r) ** 2) / 2
            for m, r in zip(mass, pos, strict=True)
        )
        assert omega @ inertia @ omega / 2 == pytest.approx(energy)
        z = np.array([0.0, 0.0, 1.0])
        expected = inertia + breaking * np.outer(inertia @ z, z)
        np.testing.assert_allclose(item.y[0].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_all_rotations_turn_it_where_nothing_is_broken():
    data = ModifiedInertia(num=50, breaking=0.0)
    mass, pos = points(data)
    for R in (*rotations(4), -torch.eye(3, dtype=torch.double)):
        moved = modified_inertia(mass, pos @ R.mT, 0.0)
        torch.testing.assert_close(moved, turned(data.y, R), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("breaking", [0.1, 0.3, 2.0])
def test_what_is_broken_is_all_but_the_third_axis(breaking):
    mass, pos = points(ModifiedInertia(num=50))
    y = modified_inertia(mass, pos, breaking)
    angle = torch.tensor([[0.0, 0.0, 0.7], [0.0, 0.0, -2.5]], dtype=torch.double)
    mirror = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.double))
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.double))
    for R in (*SO3().exp(angle), mirror, flip):
        moved = modified_inertia(mass, pos @ R.mT, breaking)
        torch.testing.assert_close(moved, turned(y, R), rtol=1e-12, atol=1e-12)
    for R in rotations(4):
        moved = modified_inertia(mass, pos @ R.mT, breaking)
        away = (moved - turned(y, R)).norm() / y.norm()
        assert away > 0.1 * breaking / (1 + breaking)


def test_splits_and_seeds():
    train, many = ModifiedInertia(num=30), ModifiedInertia(num=70, breaking=0.9)
    assert len(train) == 30 and len(ModifiedInertia()) == 1000
    assert train.pos.equal(many.pos[:150]) and train.x.equal(many.x[:150])
    others = [ModifiedInertia(split, 30) for split in ("val", "test")]
    others.append(ModifiedInertia(num=30, seed=1))
    seen = [train.pos, *(other.pos for other in others)]
    assert len({round(float(pos.sum()), 9) for pos in seen}) == 4
    (batch,) = DataLoader(train, batch_size=30)
    assert batch.y.shape == (30, 3, 3) and batch.x.shape == (150, 1)
    assert batch.y.equal(modified_inertia(*points(train), 0.3))
    assert {v.dtype for v in (batch.x, batch.pos, batch.y)} == {torch.double}
    one = ModifiedInertia(num=2, transform=lambda item: item.num_nodes)
    assert one[1] == 5


def test_distribution():
    data = ModifiedInertia(num=4000)
    assert data.pos.mean().abs() < 0.02 and abs(data.pos.std() - 1) < 0.02
    # The mean of softplus(N) by quadrature; masses of log(exp(m) - 1) are normal.
    t = torch.linspace(-10, 10, 4001, dtype=torch.double)
    density = (-t.square() / 2).exp() / math.sqrt(2 * math.pi)
    mean = torch.trapezoid(torch.nn.functional.softplus(t) * density, t)
    assert data.x.mean() == pytest.approx(float(mean), rel=0.02)
    assert data.x.expm1().log().std() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(
    "given,error,match",
    [
        (dict(split="valid"), ValueError, "'split' must be one of train, val, test"),
        (dict(num=0), ValueError, "'num' must be at least 1"),
        (dict(num_masses=2.5), TypeError, "'num_masses' must be an integer"),
        (dict(breaking=-0.1), ValueError, "'breaking' must be at least 0"),
        (dict(breaking="0.3"), TypeError, "'breaking' must be a number"),
        (dict(seed=0.5), TypeError, "'seed' must be an integer"),
        (dict(seed=-1), ValueError, "'seed' must be at least 0"),
    ],
)
def test_bad_arguments(given, error, match):
    with pytest.raises(error, match=match):
        ModifiedInertia(**given)
