"""Data with a known symmetry."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lieconv_pyg.discovery import (
    discrete_rotation,
    lorentz_basis,
    lorentz_scattering,
    read_two_body,
    score_basis,
    step_pairs,
    three_body_orbits,
    two_body_orbits,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
FILE = Path(os.environ.get("LIECONV_DATA", DATA)) / "liegan_2body.npz"
needs_file = pytest.mark.skipif(not FILE.exists(), reason=f"there is no {FILE}")


def parts(orbits):
    """Position, momentum of the first body, radius, energy."""
    q, p = orbits[..., :2], orbits[..., 2:4]
    r = q.norm(dim=-1)
    return q, p, r, p.square().sum(-1) - 1 / (2 * r)


def check_two_body(orbits, low, high, drift):
    q, p, r, energy = parts(orbits)
    assert orbits.shape[1:] == (20, 8) and orbits.dtype == torch.float64
    assert_close(orbits[..., 4:], -orbits[..., :4], rtol=0, atol=1e-9)
    assert r.min() > 1.48 and r.max() < 3.02
    assert abs(r[:, 0].square().mean() - (2.25 + 9) / 2) < 0.4
    angle = torch.atan2(q[:, 0, 1], q[:, 0, 0])
    assert angle.min() > low - 0.03 and angle.max() < high + 0.03
    assert (angle.max() - angle.min()) > 0.9 * (high - low)
    assert (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).min() > 0  # all one way
    radial = (q * p).sum(-1) / r
    assert 4e-4 < radial.std() < 7e-4  # nearly circles
    spread = energy.amax(1) - energy.amin(1)
    assert (spread / energy.mean(1).abs()).median() < drift
    # The step: a circle of radius r turns by 20 / 49 / (2 r^(3/2)).
    turn = torch.atan2(q[:, 1, 1], q[:, 1, 0]) - angle
    assert_close(
        turn.remainder(2 * math.pi), 20 / 49 / (2 * r[:, 0] ** 1.5), rtol=0.01, atol=0
    )


def test_two_bodies():
    check_two_body(two_body_orbits(300, "lower"), -math.pi, 0, 1e-7)
    check_two_body(two_body_orbits(300, "upper", 1), 0, math.pi, 1e-7)
    check_two_body(two_body_orbits(300, "plane", 2), -math.pi, math.pi, 1e-7)
    again = two_body_orbits(5, "lower", 3)
    assert torch.equal(again, two_body_orbits(5, "lower", 3))
    assert not torch.equal(again, two_body_orbits(5, "lower", 4))
    with pytest.raises(ValueError, match="'half' must be one of lower, upper, plane"):
        two_body_orbits(5, "left")


@needs_file
def test_published_two_bodies():
    train, test = read_two_body(FILE)
    assert len(train) == 814 and len(test) == 790
    check_two_body(train, -math.pi, 0, 1e-2)
    check_two_body(test, 0, math.pi, 1e-2)
    pairs = step_pairs(train, "file")
    assert len(pairs) == 14_652
    assert len(step_pairs(train, "file", (5, 5))) == 8140
    # The data span 4 of 8 dimensions, on which the symmetry is what the mask allows.
    score = score_basis(pairs.true_basis, pairs.true_basis, pairs.points().double())
    assert score.coverage == pytest.approx(1) and score.true_dimension == 1


def test_pairs_of_steps():
    orbits = two_body_orbits(4, "plane")
    pairs = step_pairs(orbits, "mine", (2, 3))
    assert pairs.x.shape == (4 * 15, 2, 8) and pairs.y.shape == (4 * 15, 3, 8)
    assert_close(pairs.x[0], orbits[0, :2].float())
    assert_close(pairs.y[16], orbits[1, 3:6].float())
    mask = pairs.representation.mask_tensor()
    assert mask.sum() == 16 and mask[:2, :2].all() and not mask[:2, 2:].any()
    wide = step_pairs(orbits, "mine", extended=True).representation.mask_tensor()
    assert wide.sum() == 32 and wide[:2, 4:6].all() and not wide[:2, 2:4].any()
    with pytest.raises(
        ValueError, match="12 \\+ 9 states are asked for, orbits have 20"
    ):
        step_pairs(orbits, "mine", (12, 9))


def test_three_bodies():
    orbits = three_body_orbits(20)
    assert orbits.shape[1:] == (20, 12) and len(orbits) >= 18
    q = orbits.view(-1, 20, 3, 4)[..., :2]
    r = q[:, 0].norm(dim=2)
    assert ((r > 0.9 - 1e-9) & (r < 1.2 + 1e-9)).all()
    assert_close(q[:, 0].sum(1), torch.zeros(len(q), 2).double())
    p = orbits.view(-1, 20, 3, 4)[..., 2:]
    potential = sum(
        1 / (q[:, :, i] - q[:, :, j]).norm(dim=2) for i, j in ((0, 1), (1, 2), (2, 0))
    )
    energy = p.square().sum((2, 3)) / 2 - potential
    assert_close(energy, energy[:, :1].expand_as(energy), rtol=1e-5, atol=1e-5)


def test_discrete_rotation():
    pairs = discrete_rotation(1000)
    turn = torch.linalg.matrix_exp(2 * math.pi / 7 * pairs.true_basis[0]).float()
    x = pairs.x @ turn.T

    def f(x):
        angle = torch.atan2(x[:, 0, 1], x[:, 0, 0]).remainder(2 * math.pi / 7)
        return x[:, 0, 2] / (1 + angle)

    assert_close(f(pairs.x), pairs.y[:, 0])
    same = (f(x) - pairs.y[:, 0]).abs() < 1e-3
    assert same.float().mean() > 0.99  # but where rounding crosses the border
    half = torch.linalg.matrix_exp(math.pi / 7 * pairs.true_basis[0]).float()
    assert ((f(pairs.x @ half.T) - pairs.y[:, 0]).abs() > 1e-3).float().mean() > 0.9


def test_lorentz_scattering():
    """Against sums of components, and invariant."""
    pairs = lorentz_scattering(20)
    eta = np.diag([1.0, -1, -1, -1])
    p = pairs.x.double().numpy()

    def value(p):
        p1, p2, p3, p4 = p
        d13, d11 = p1 @ eta @ p3, p1 @ eta @ p1
        d24, d22 = p2 @ eta @ p4, p2 @ eta @ p2
        A = np.outer(p1, p3) - (d13 - d11) * eta
        B = np.outer(p2, p4) - (d24 - d22) * eta
        return 4 * np.sum(A * (eta @ B @ eta))

    found = np.array([value(one) for one in p])
    np.testing.assert_allclose(found, pairs.y[:, 0].numpy(), rtol=1e-4, atol=1e-5)
    g = torch.linalg.matrix_exp((0.3 * lorentz_basis()).sum(0)).numpy()
    moved = np.array([value(one @ g.T) for one in p])
    np.testing.assert_allclose(moved, found, rtol=1e-9, atol=1e-12)
    assert score_basis(lorentz_basis(), pairs.true_basis).killing == (3, 3, 0)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_two_body(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", coords=np.ones((3, 20, 8)))
    with pytest.raises(ValueError, match="no two-body orbits"):
        read_two_body(tmp_path / "other.npz")
    np.savez(tmp_path / "flat.npz", coords=np.ones((3, 8)), test_coords=np.ones((3, 8)))
    with pytest.raises(ValueError, match=r"must have shape \(orbits, times, 8\)"):
        read_two_body(tmp_path / "flat.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(ValueError, match=r"text.npz"):
        read_two_body(tmp_path / "text.npz")
