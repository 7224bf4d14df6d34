import numpy as np
import pytest
import torch

from lieconv_pyg.discovery import score_basis
from tests.qm9_files import data_folder

from .conftest import mixed, unit

# Symmetries of two bodies at opposite points: their states span half of R^8.
OPPOSITE = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double() / 2


def test_the_truth(lorentz):
    """In any combinations, at any length."""
    score = score_basis(7 * mixed(lorentz, 6), lorentz)
    assert score.coverage == pytest.approx(1) and score.purity == pytest.approx(1)
    assert max(score.angles) < 1e-5 and len(score.angles) == 6
    assert score.chance == 6 / 16 and score.closure < 1e-12
    assert score.killing == (3, 3, 0)
    assert "6 of 6 generators, coverage 1.0000 (chance 0.3750)" in str(score)


def test_a_half_of_it(lorentz):
    score = score_basis(lorentz[3:], lorentz)
    assert (score.coverage, score.purity) == pytest.approx((0.5, 1))
    assert score.killing == (0, 3, 0) and score.dimension == 3
    more = torch.cat([lorentz, torch.eye(4).double()[None]])
    assert score_basis(more, lorentz).purity == pytest.approx(6 / 7)


def test_an_angle():
    """Against SciPy's principal angles, and a plane turned by hand."""
    from scipy.linalg import subspace_angles

    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3, 4, 4, generator=random).double() for _ in range(2))
    wanted = np.degrees(subspace_angles(a.flatten(1).t(), b.flatten(1).t()))[::-1]
    np.testing.assert_allclose(score_basis(a, b).angles, wanted)
    turn, scale = unit(2, 0, 1) - unit(2, 1, 0), torch.eye(2).double()
    learned = (0.8 * turn + 0.6 * scale).unsqueeze(0)
    score = score_basis(learned, turn.unsqueeze(0))
    assert score.angles == pytest.approx((np.degrees(np.arccos(0.8)),))
    assert score.coverage == pytest.approx(0.64)


def test_dead_channels(lorentz):
    noise = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    learned = torch.cat([lorentz, noise])
    sigma = torch.tensor([1.0] * 6 + [0.01])
    assert score_basis(learned, lorentz).dimension == 7
    assert score_basis(learned, lorentz, sigma=sigma).dimension == 6


def test_lengths_of_the_truth_do_not_matter(lorentz):
    lengths = 10.0 ** torch.arange(-3, 3).double()
    found = score_basis(lorentz, lengths.view(-1, 1, 1) * lorentz)
    assert found.true_dimension == 6 and found.coverage == pytest.approx(1)


def test_what_data_cannot_show(spin):
    """A generator that mixes two bodies which are always opposite acts on them as the
    rotation does, and is at 45 degrees to it."""
    turn = unit(2, 0, 1) - unit(2, 1, 0)
    mixing = torch.block_diag(*[torch.kron(OPPOSITE, turn)] * 2).unsqueeze(0)
    half = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double()
    states = torch.cat([half[:, :2], -half[:, :2], half[:, 2:], -half[:, 2:]], 1)
    assert score_basis(mixing, spin).angles[0] == pytest.approx(45)
    score = score_basis(mixing, spin, states)
    assert score.angles[0] < 1e-5 and score.coverage == pytest.approx(1)
    assert score.chance == pytest.approx(1 / 32)
    mask = torch.block_diag(*[torch.ones(2, 2)] * 4)
    assert score_basis(spin, spin, states, mask=mask).chance == pytest.approx(1 / 16)


def test_two_bodies_as_they_were_measured(spin):
    path = data_folder() / "liegan_2body.npz"
    if not path.is_file():
        pytest.skip(f"needs {path.name}")
    # Columns are x, then y of positions, and of momenta, of the first body and the
    # second; both are always opposite.
    states = torch.from_numpy(np.load(path)["coords"]).double().flatten(0, -2)
    states = states[:, [0, 2, 1, 3, 4, 6, 5, 7]]
    assert torch.linalg.matrix_rank(states, rtol=1e-5) == 4
    turn = unit(2, 0, 1) - unit(2, 1, 0)
    mixing = torch.block_diag(*[torch.kron(OPPOSITE, turn)] * 2).unsqueeze(0)
    assert score_basis(mixing, spin).angles[0] == pytest.approx(45)
    assert score_basis(mixing, spin, states).angles[0] < 0.01


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (dict(learned=torch.rand(1, 2, 2)), ValueError, "size 2, 'true' of size 3"),
        (dict(learned=torch.zeros(1, 3, 3)), ValueError, "'learned' is zero"),
        (dict(true=torch.rand(3, 3)), ValueError, "'true' must have shape"),
        (dict(learned=[1]), TypeError, "'learned' must be a floating-point"),
        (dict(data=torch.rand(5, 2)), ValueError, r"'data' must have shape .points, 3"),
        (dict(data=torch.full((5, 3), torch.inf)), ValueError, "'data' has infinite"),
        (dict(data=torch.eye(3)[2:]), ValueError, "'data' show nothing of 'true'"),
        (dict(data=torch.zeros(0, 3)), ValueError, "'data' must have shape"),
        (dict(mask=torch.zeros(3, 3)), ValueError, "entries other than 0"),
        (dict(sigma=[1.0] * 3), TypeError, "'sigma' must be a tensor"),
        (dict(sigma=torch.ones(2)), ValueError, r"'sigma' must have shape \(3,\)"),
        (dict(mask=[[1.0]]), TypeError, "'mask' must be a tensor, got list"),
        (
            dict(mask=torch.eye(3)[:1].T * torch.eye(3)[:1], data=torch.eye(3)[1:2]),
            ValueError,
            "'data' show nothing of 'mask'",
        ),
        (dict(mask=torch.ones(2, 2)), ValueError, r"'mask' must have shape \(3, 3\)"),
    ],
)
def test_wrong_arguments(so3, change, error, match):
    given = dict(learned=so3, true=so3[-1:]) | change
    with pytest.raises(error, match=match):
        score_basis(**given)
