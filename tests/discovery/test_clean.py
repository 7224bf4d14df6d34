import pytest
import torch

from lieconv_pyg.discovery import (
    clean_basis,
    invariant_metric,
    score_basis,
    shared_block,
)
from lieconv_pyg.groups import MatrixLieGroup

from .conftest import mixed, unit


def test_superfluous_channels(lorentz):
    learned = mixed(lorentz, 7, noise=0.01)
    metric = invariant_metric(learned)
    for given in (metric, metric.metric, 3 * metric.metric.float()):
        found = clean_basis(learned, given)
        assert found.shape == (6, 4, 4) and found.dtype == torch.double
        score = score_basis(found, lorentz)
        assert score.closure < 1e-6 and score.coverage > 0.999
        assert score.killing == (3, 3, 0)
    exact = clean_basis(learned, torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])))
    assert score_basis(exact, lorentz).angles[-1] < 1e-5
    group = MatrixLieGroup(exact)
    assert group.dim == 6  # it is closed


def test_a_rotation_that_grows():
    """Made skew, it closes after a turn."""
    turn = unit(2, 0, 1) - unit(2, 1, 0) + 0.05 * torch.eye(2).double()
    metric = invariant_metric(turn.unsqueeze(0))
    (found,) = clean_basis(turn.unsqueeze(0), metric)
    period = 2 * torch.pi / torch.linalg.eigvals(found).imag.abs().max()
    after = torch.linalg.matrix_exp(period * found)
    torch.testing.assert_close(after, torch.eye(2).double())
    period = 2 * torch.pi / torch.linalg.eigvals(turn).imag.abs().max()
    after = torch.linalg.matrix_exp(period * turn)
    assert (after - torch.eye(2).double()).abs().max() > 0.1


def test_brackets_are_added(so3):
    found = clean_basis(so3[:2])
    assert score_basis(found, so3).coverage == pytest.approx(1)
    assert len(found) == 3
    assert len(clean_basis(so3[:1])) == 1


def test_an_orthonormal_basis_stays(so3):
    found = clean_basis(5 * so3.float())
    torch.testing.assert_close(
        found.flatten(1) @ found.flatten(1).t(), torch.eye(3).double()
    )


def test_one_of_several_metrics(spin):
    """A turn of one plane, or of several alike, keeps many: that nearest to the
    identity cleans."""
    turn = spin[0, :2, :2].double()
    turn = turn / turn.abs().max()
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(8, 8, generator=random, dtype=torch.double)
    once = torch.block_diag(turn, torch.zeros(1, 1))
    for true in (once, torch.block_diag(*[turn] * 4)):
        n = len(true)
        for size in (0.0, 1e-3):
            learned = (true + size * noise[:n, :n]).unsqueeze(0)
            found = clean_basis(learned, invariant_metric(learned))
            torch.testing.assert_close(found, -found.mT, rtol=0, atol=10 * size + 1e-9)
            away = found.mul(true).sum().abs() / true.norm()
            assert float(away) > 1 - 20 * size**2 - 1e-9


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dict(basis=torch.randn(3, 3, 3)), "fill all matrices of size 3"),
        (dict(basis=torch.eye(9).view(9, 3, 3)), "fill all matrices of size 3"),
        (dict(metric=torch.full((3, 3), torch.nan)), "infinite or NaN"),
        (dict(metric=torch.eye(2)), r"'metric' must have shape \(3, 3\), got \(2, 2\)"),
        (dict(metric="J"), r"'metric' must have shape \(3, 3\), got str"),
        (dict(metric=torch.ones(3, 3)), "'metric' is singular"),
        (
            dict(metric=torch.tensor([[1.0, 2, 0], [-2, 0, 0], [0, 0, 1]])),
            "'metric' is singular",
        ),
        (
            dict(basis=torch.eye(3)[None], metric=torch.eye(3)),
            "no generator of",
        ),
        (dict(tolerance=0.0), "'tolerance'"),
    ],
)
def test_wrong_arguments(so3, change, match):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=match):
        clean_basis(**{"basis": so3} | change)


def test_shared_block(spin):
    """What moves both bodies alike, also where only their difference is seen."""
    turn = spin[0, :2, :2]
    assert torch.allclose(shared_block(3 * spin, 2)[0], 3 * turn)
    noisy = spin + 0.01 * torch.randn(1, 8, 8, dtype=torch.double)
    assert (shared_block(noisy, 2)[0] - turn).norm() < 0.05
    # Turns of q1 alone, where q2 = -q1: a difference of two copies of a half turn.
    q = torch.randn(50, 4, dtype=torch.double)
    data = torch.cat([q, -q], 1)
    mixing = torch.kron(
        torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.double) / 2,
        torch.block_diag(turn, turn),
    ).unsqueeze(0)
    assert torch.allclose(shared_block(mixing, 2, data)[0], turn)
    with pytest.raises(ValueError, match="does not move all vectors of size 2 alike"):
        shared_block(mixing, 2)
    with pytest.raises(ValueError, match="'size' must divide 8, got 3"):
        shared_block(spin, 3)
    once = torch.block_diag(turn, 0 * turn).unsqueeze(0)
    with pytest.raises(ValueError, match="does not move all vectors"):
        shared_block(once, 2)
    none = torch.stack([torch.block_diag(turn, turn), torch.zeros(4, 4).double()])
    with pytest.raises(ValueError, match="zero, or does nothing to 'data', number 1"):
        shared_block(none, 2)


@pytest.mark.parametrize("with_metric", [True, False])
def test_brackets_are_closed_exactly(lorentz, with_metric):
    """A noisy so(3) within so(1, 3) becomes one, and not all of it."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 4, 4, generator=random, dtype=torch.double)
    learned = lorentz[3:] + 0.01 * noise
    metric = torch.diag(torch.tensor([-1.0, 1, 1, 1])) if with_metric else None
    found = clean_basis(learned, metric, tolerance=0.15)
    score = score_basis(found, lorentz[3:])
    assert score.closure < 1e-12 and score.coverage > 0.98
    assert score.killing == (0, 3, 0) and len(found) == 3
    assert MatrixLieGroup(found).dim == 3


def test_a_metric_that_nothing_keeps():
    noise = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0))
    metric = invariant_metric(noise)
    with pytest.warns(UserWarning, match="'metric' is none that generators keep"):
        clean_basis(noise, metric)
