import pytest
import torch
from torch_geometric.loader import DataLoader

from lieconv_pyg.dynamics import Gravity, Springs, Trajectories, integrate

SHORT = dict(num_states=20, num_systems=6, progress=False, tol=1e-7)


def make(root, system=None, **kwargs):
    return Trajectories(root, system or Springs(), **{**SHORT, **kwargs})


def test_items(tmp_path):
    data = make(tmp_path, num_chunks=2)
    assert len(data) == 12 and (tmp_path / "processed" / "train.pt").is_file()
    item = data[3]
    assert item.x.shape == (6, 2) and item.pos.shape == item.momentum.shape == (6, 5, 2)
    assert item.t.shape == (1, 5) and item.pos.dtype == torch.double
    torch.testing.assert_close(item.t.diff(), torch.full((1, 4), 0.01).double())
    assert float(item.t[0, 0]) / 0.05 == pytest.approx(
        round(float(item.t[0, 0]) / 0.05)
    )
    assert not data[2].t.equal(data[3].t) and data[2].x.equal(data[3].x)
    batch = next(iter(DataLoader(data, batch_size=4)))
    assert batch.pos.shape == (24, 5, 2) and batch.t.shape == (4, 5)


def test_chunks_are_of_trajectories(tmp_path):
    """From a chunk's first state to its last, and from the sample to the first."""
    whole = make(tmp_path / "whole", chunk=None)
    for index, system in enumerate(Springs().sample(6)):
        item = whole[index]
        assert item.pos.shape == (6, 20, 2)
        torch.testing.assert_close(item.pos[:, 0], system.pos)
        run = integrate(
            *(Springs(), system.x, system.pos, system.momentum, item.t[0]),
            method="yoshida4",
            substeps=20,
        )
        torch.testing.assert_close(item.pos, run.pos, rtol=0, atol=1e-5)
    for item, long in zip(make(tmp_path), whole, strict=True):
        first = round(float(item.t[0, 0]) / 0.01)
        torch.testing.assert_close(item.pos, long.pos[:, first : first + 5])


def test_splits_and_seeds_differ(tmp_path):
    train, valid = make(tmp_path), make(tmp_path, split="valid")
    other = make(tmp_path / "other", seed=1)
    assert not train[0].x.equal(valid[0].x) and not train[0].x.equal(other[0].x)


def test_written_once(tmp_path):
    first = make(tmp_path)
    file = tmp_path / "processed" / "train.pt"
    time = file.stat().st_mtime_ns
    again = make(tmp_path)
    assert file.stat().st_mtime_ns == time and again[2].pos.equal(first[2].pos)
    fewer = make(tmp_path, num_systems=2)
    assert len(fewer) == 2 and fewer[1].pos.equal(first[1].pos)
    assert [p.name for p in file.parent.glob("*.part")] == []
    more = make(tmp_path, num_systems=8)
    assert len(more) == 8
    for index in range(6):  # steps are those of the system that needs the smallest
        torch.testing.assert_close(more[index].pos, first[index].pos, rtol=0, atol=1e-6)
    assert len(make(tmp_path, num_systems=8)) == 8


def test_files_of_fewer_systems_that_hang_together(tmp_path):
    system = Springs(center_momenta="systems")
    make(tmp_path, system)
    with pytest.raises(ValueError, match="num_systems=6 there, 7 here"):
        make(tmp_path, system, num_systems=7)


@pytest.mark.parametrize(
    "change,match",
    [
        (dict(system=Springs(3)), "space_dim=2 there, 3 here"),
        (dict(system=Springs(2, 4)), "num_particles=6 there, 4 here"),
        (dict(system=Springs(center_momenta=None)), "center_momenta='particles' there"),
        (dict(system=Gravity(2)), "system='Springs' there, 'Gravity' here"),
        (dict(step=5 / 499), "step=0.01 there, 0.01002"),
        (dict(chunk=4), "chunk=5 there, 4 here"),
        (dict(seed=3), "seed=0 there, 3 here"),
        (dict(tol=1e-8), "tol=1e-07 there, 1e-08 here"),
    ],
)
def test_files_of_other_settings(tmp_path, change, match):
    make(tmp_path)
    with pytest.raises(ValueError, match=match):
        make(tmp_path, **change)
    replaced = make(tmp_path, force_reload=True, **change)
    assert len(replaced) == change.get("num_systems", 6)


class Stiffer(Springs):
    """The same in all that is written down."""

    def potential(self, *args):
        return 3 * super().potential(*args)

    def force(self, *args):
        return 3 * super().force(*args)


def test_systems_that_only_move_differently(tmp_path):
    make(tmp_path)
    Stiffer.__name__ = "Springs"
    with pytest.raises(
        ValueError, match=r"first_state='[\d. ]+' there, '[\d. ]+' here"
    ):
        make(tmp_path, Stiffer())


def test_broken_files(tmp_path):
    make(tmp_path)
    file = tmp_path / "processed" / "train.pt"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"train\.pt is not a file of trajectories"):
        make(tmp_path)


def test_numbers_of_particles_that_differ(tmp_path):
    data = make(tmp_path, Springs(num_particles=(3, 5)))
    assert {item.x.size(0) for item in data} == {3, 5}
    with pytest.raises(ValueError, match="different numbers of particles"):
        data.tensors()


def test_tensors(tmp_path):
    data = make(tmp_path, chunk=None)
    states, times, params = data.tensors()
    assert states.shape == (6, 20, 24) and times.shape == (6, 20)
    assert params.shape == (6, 6, 2)
    item = data[4]
    assert states[4, 7, :12].view(6, 2).equal(item.pos[:, 7])
    assert states[4, 7, 12:].view(6, 2).equal(item.momentum[:, 7])


@pytest.mark.parametrize(
    "change,match",
    [
        (dict(split="dev"), "'split' must be one of train, valid, test"),
        (dict(chunk=1), "'chunk' must be from 2"),
        (dict(chunk=30), "'chunk' must be from 2 to the number of states, 20"),
        (dict(num_chunks=5), "'num_chunks' must be at most 4"),
        (dict(chunk=None, num_chunks=2), "'num_chunks' needs a 'chunk'"),
        (dict(step=0.0), "'step' and 'tol' must be positive"),
        (dict(num_states=1), "'num_states' must be at least 2"),
        (dict(method="euler"), "'method' must be one of"),
        (dict(num_systems=0), "num_systems"),
    ],
)
def test_bad_arguments(tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        make(tmp_path, **change)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="'system' must be a System such as"):
        Trajectories(tmp_path, "springs")


def test_bar(tmp_path, capsys):
    make(tmp_path, progress=True)
    assert "Springs, train: 100%" in capsys.readouterr().err
