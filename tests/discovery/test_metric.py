import pytest
import torch

from lieconv_pyg.discovery import invariant_metric
from lieconv_pyg.groups import SE2

from .conftest import mixed, unit


def test_lorentz(lorentz):
    found = invariant_metric(lorentz)
    minkowski = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])).double() / 2
    torch.testing.assert_close(found.metric, minkowski)
    assert found.residual < 1e-14 and found.gap < 1e-14 and len(found.metrics) == 1


def test_the_next_best_of_lorentz(lorentz):
    """By the stacked system of all matrices J, which are not symmetric: one zero, then
    the square root of two."""
    eye = torch.eye(4).double()
    transposed = (lorentz / 2**0.5).mT.contiguous()
    system = torch.cat([torch.kron(eye, L) + torch.kron(L, eye) for L in transposed])
    values = torch.linalg.svdvals(system).flip(0)
    assert values[0] < 1e-14
    assert values[1].item() == pytest.approx(2**0.5)


def test_a_metric_that_was_learned(lorentz):
    """The one of LieGAN's authors for top tagging: its cosine to Minkowski's."""
    learned = torch.tensor([-1.1205, 1.2525, 1.2533, 1.0640]).double()
    root = learned.abs().sqrt()
    found = invariant_metric(lorentz * root / root.unsqueeze(1)).metric
    torch.testing.assert_close(found, torch.diag(learned / learned.norm()))
    minkowski = torch.tensor([-0.5, 0.5, 0.5, 0.5]).double()
    assert (found.diag() @ minkowski).item() == pytest.approx(0.9975, abs=1e-4)


def test_noise(lorentz):
    found = invariant_metric(mixed(lorentz, 7, noise=0.01))
    cosine = (found.metric.diag() * torch.tensor([-0.5, 0.5, 0.5, 0.5])).sum()
    assert cosine > 0.999 and 0 < found.gap < 0.1


def test_reducible(spin, so3):
    """Two bodies have 16 symmetric metrics; a vector has one."""
    assert len(invariant_metric(spin).metrics) == 16
    one = invariant_metric(so3)
    torch.testing.assert_close(one.metric, torch.eye(3).double() / 3**0.5)
    for metric in invariant_metric(spin).metrics:
        assert (spin.mT @ metric + metric @ spin).abs().max() < 1e-12


def test_there_is_none():
    """Scaling keeps no metric."""
    found = invariant_metric(torch.eye(3).unsqueeze(0))
    assert found.gap == 1.0 and found.residual > 1 and len(found.metrics) == 0
    degenerate = invariant_metric(SE2().hat(torch.eye(3)))
    assert torch.linalg.matrix_rank(degenerate.metrics[0], atol=1e-9) < 3


@pytest.mark.parametrize(
    ("basis", "error", "match"),
    [
        (None, TypeError, "'basis' must be a floating-point tensor"),
        (torch.zeros(2, 2, 2).long(), TypeError, "floating-point"),
        (torch.rand(2, 3), ValueError, r"shape \(channels, n, n\), got \(2, 3\)"),
        (torch.rand(2, 3, 4), ValueError, r"got \(2, 3, 4\)"),
        (torch.rand(0, 3, 3), ValueError, r"got \(0, 3, 3\)"),
        (torch.full((1, 2, 2), torch.nan), ValueError, "infinite or NaN"),
        (torch.zeros(1, 2, 2), ValueError, "'basis' is zero"),
        (
            torch.stack([unit(2, 0, 1), 0 * unit(2, 0, 1)]),
            ValueError,
            "zero generator, number 1",
        ),
    ],
)
def test_wrong_basis(basis, error, match):
    with pytest.raises(error, match=match):
        invariant_metric(basis)


def test_up_to_scale(lorentz):
    """A dilation and growth keep no metric, but for a factor."""
    eye = torch.eye(4, dtype=torch.double)
    grown = torch.cat([lorentz + 0.3 * eye, 2 * eye.unsqueeze(0)])
    assert invariant_metric(grown).residual > 0.5
    found = invariant_metric(grown, up_to_scale=True)
    assert found.residual < 1e-9 and found.gap < 1e-9
    assert torch.allclose(
        found.metric, torch.diag(torch.tensor([-0.5, 0.5, 0.5, 0.5])).double()
    )
    with pytest.raises(ValueError, match="nothing but scalings"):
        invariant_metric(eye.unsqueeze(0), up_to_scale=True)
