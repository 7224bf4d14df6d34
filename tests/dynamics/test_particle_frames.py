import pytest
import torch

from lieconv_pyg.dynamics import particle_frames

from .conftest import rotation


@pytest.mark.parametrize("dim", [2, 3])
def test_frames(dim):
    pos = torch.randn(7, dim, dtype=torch.double)
    batch = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    frames = particle_frames(pos, batch, 2)
    number = [3, 4] if dim == 2 else [6, 12]
    assert torch.bincount(frames.example).tolist() == number
    total = torch.zeros(2, dtype=torch.double).index_add(
        0, frames.example, frames.weight
    )
    torch.testing.assert_close(total, torch.ones_like(total))
    # Each frame holds the points of its system, turned and not mirrored.
    for frame in range(len(frames.weight)):
        own = frames.frame == frame
        there, here = pos[frames.point[own]], frames.pos[own]
        assert batch[frames.point[own]].eq(frames.example[frame]).all()
        turn = torch.linalg.lstsq(there, here).solution.T
        assert torch.linalg.det(turn) == pytest.approx(1)
        torch.testing.assert_close(there @ turn.T, here)


@pytest.mark.parametrize("dim", [2, 3])
def test_frames_turn_with_the_points(dim):
    """The same positions and weights, for turned points."""
    pos, batch = torch.randn(5, dim, dtype=torch.double), torch.zeros(5).long()
    expected = particle_frames(pos, batch, 1)
    found = particle_frames(pos @ rotation(dim).T, batch, 1)
    torch.testing.assert_close(found, expected)
    small = particle_frames(1e-30 * pos, batch, 1)
    torch.testing.assert_close(small.weight, expected.weight)


@pytest.mark.parametrize("dim", [2, 3])
def test_points_without_frames(dim):
    """One point, points in one place or on a line: weights are equal, and the mean
    over frames of what depends on distances is right."""
    line = torch.zeros(3, dim, dtype=torch.double)
    line[:, 0] = torch.tensor([-1.0, 0.5, 2.0])
    line = line @ rotation(dim).T
    for pos in (line, line[:1], line[:1] * 0, torch.ones_like(line)):
        pos = pos.clone().requires_grad_()
        frames = particle_frames(pos, torch.zeros(len(pos)).long(), 1)
        assert float(frames.weight.detach().sum()) == pytest.approx(1)
        torch.testing.assert_close(
            frames.pos.norm(dim=1), pos[frames.point].norm(dim=1)
        )
        (frames.weight[frames.frame] * frames.pos[:, 0]).sum().backward()
        assert pos.grad.isfinite().all()


def test_other_dimensions():
    with pytest.raises(ValueError, match="2 and 3 dimensions only"):
        particle_frames(torch.zeros(3, 4), torch.zeros(3).long(), 1)


def test_continuous_on_a_line():
    """Means over frames, of what does not depend on how a frame is turned about a line
    of particles on it."""
    line = torch.tensor([[-1.0, 0, 0], [0.4, 0, 0], [0.9, 0, 0]]).double()
    line = line @ rotation(3).T

    def mean(pos):
        frames = particle_frames(pos, torch.zeros(3).long(), 1)
        cubes = (frames.pos**3).sum(1) * (1 + frames.point)
        return float((frames.weight[frames.frame] * cubes).sum())

    for size in (1e-4, 1e-7, 1e-12, 1e-14):
        assert mean(line + size * torch.randn(3, 3)) == pytest.approx(
            mean(line), abs=100 * size + 1e-14
        )
