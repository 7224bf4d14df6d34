"""Fields of vectors: their statistics, and networks from fields to fields."""

import copy

import pytest
import torch

from lieconv_pyg import lift
from lieconv_pyg.groups import SE2, SE3, SIM2, SO2, RxSO2, T, Tx
from lieconv_pyg.nn import FieldLieResNet, field_statistics

from .test_vectors import prepare


def flow(sizes=(7, 6), number=3, dim=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    pos = torch.randn(len(batch), dim, generator=generator).double()
    shape = len(batch), number, dim
    return torch.randn(shape, generator=generator).double(), pos, batch


def nearest(pos, batch, number=3):
    """The nearest points of each example, as PyG's knn_graph finds them."""
    distance = torch.cdist(pos, pos)
    distance[batch[:, None] != batch] = torch.inf
    index = distance.topk(number + 1, largest=False).indices[:, 1:]
    target = torch.arange(len(pos)).repeat_interleave(number)
    return torch.stack([index.flatten(), target])


def make(group=None, **kwargs):
    torch.manual_seed(0)
    group = SE2() if group is None else group
    lift = "frames" if group.stabilizer_dim else "haar"
    settings = dict(hidden_channels=16, num_layers=2, lift=lift) | kwargs
    return prepare(FieldLieResNet(3, 2, group, **settings))


@pytest.mark.parametrize("motion", [True, False])
@pytest.mark.parametrize("windows", [True, False])
def test_statistics(windows, motion):
    """By hand, one point at a time."""
    w, pos, batch = flow()
    edges = nearest(pos, batch) if windows else None
    found = field_statistics(w, batch, edges, motion=motion)
    for i in range(len(w)):
        mine = batch == batch[i]
        if windows:
            mine = torch.zeros(len(w), dtype=torch.bool)
            mine[edges[0, edges[1] == i]] = mine[i] = True
        inside = w[mine].flatten(0, 1)
        mean = inside.mean(0) if motion else torch.zeros(2).double()
        size = (inside - mean).square().sum(1).mean().sqrt()
        torch.testing.assert_close(found.mean[i, 0], mean)
        torch.testing.assert_close(found.size[i, 0, 0], size)
    torch.testing.assert_close(found.restore(found.normalize(w)), w)
    plain = field_statistics(w, batch, edges, motion=motion, magnitude=False)
    assert plain.size.eq(1).all() and plain.mean.equal(found.mean)
    several = field_statistics(torch.stack([w, 2 * w]), batch, edges, motion=motion)
    for k, one in enumerate((w, 2 * w)):
        alone = field_statistics(one, batch, edges, motion=motion)
        torch.testing.assert_close(several.mean[k], alone.mean)
        torch.testing.assert_close(several.size[k], alone.size)


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_fields_that_are_the_same_everywhere(dtype):
    """Rounding is no field, however large what it rounds."""
    w, pos, batch = flow()
    for speed in (0.0, 1e-3, 1e3):
        same = (speed + 0 * w).to(dtype)
        found = field_statistics(same, batch, nearest(pos, batch))
        assert found.size.eq(1).all()
        assert found.normalize(same).abs().max() <= 1e-6 * speed
    tiny = (1e-4 * w).to(dtype)
    found = field_statistics(tiny, batch)
    assert found.size.max() < 1e-3
    leaf = torch.zeros_like(w).requires_grad_()
    found = field_statistics(leaf, batch)
    (gradient,) = torch.autograd.grad(found.normalize(leaf).sum(), leaf)
    assert gradient.isfinite().all()


def test_statistics_have_gradients():
    w, pos, batch = flow((3, 2), 2)
    edges = nearest(pos, batch, 1)

    def normalized(w):
        return field_statistics(w, batch, edges).normalize(w)

    assert torch.autograd.gradcheck(normalized, w.requires_grad_())


@pytest.mark.parametrize("group", [T(2), Tx(), SO2(), SE2(), SE3()], ids=str)
@pytest.mark.parametrize("windows", [True, False])
def test_symmetries(group, windows):
    """All at once: moved, in uniform motion, and of another magnitude."""
    w, pos, batch = flow(dim=group.space_dim)
    model = make(group)
    g = group.sample(dtype=torch.double)
    moved_pos = group.act(g, pos)
    edges = [nearest(p, batch) if windows else None for p in (pos, moved_pos)]
    out = model(w, pos, batch, edge_index=edges[0])
    c = torch.randn(group.space_dim).double()
    moved_w = 2.5 * group.act_on_vectors(g, w) + c
    moved = model(moved_w, moved_pos, batch, edge_index=edges[1])
    expected = 2.5 * group.act_on_vectors(g, out) + c
    torch.testing.assert_close(moved, expected, rtol=1e-10, atol=1e-10)
    assert out.shape == (13, 2, group.space_dim)


def test_without_them_it_is_not():
    """The test above can fail."""
    w, pos, batch = flow()
    for kwargs in (dict(motion=False), dict(magnitude=False)):
        model = make(**kwargs)
        out = model(w, pos, batch)
        moved = model(2.5 * w + 1, pos, batch)
        assert (moved - 2.5 * out - 1).abs().max() > 1e-2
    plain = make(motion=False, magnitude=False)
    x = torch.ones(13, 1).double()
    direct = plain.net(x, pos, batch, vectors=w)
    torch.testing.assert_close(plain(w, pos, batch), direct)


def test_snapshots_on_a_grid_and_features():
    w, pos, _ = flow((8,))
    batch = torch.zeros(8, dtype=torch.long)
    model = make(in_channels=2)
    snapshots, x = torch.stack([w, 3 * w.flip(0)]), torch.randn(2, 8, 2).double()
    out = model(snapshots, pos, x=x)
    assert out.shape == (2, 8, 2, 2)
    for k in range(2):
        one = model(snapshots[k], pos, batch, x=x[k])
        torch.testing.assert_close(out[k], one)
    lifted = lift(SE2(), pos, num_lifts=2)
    assert model(snapshots, pos, lifted=lifted).shape == (2, 8, 2, 2)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    """Of values: places stay in single precision."""
    w, pos, batch = (part.float() for part in flow())
    model = make(norm=None).float()
    expected = model(w, pos, batch.long())
    out = model.to(dtype)(w.to(dtype), pos, batch.long())
    close = {"rtol": 0.05, "atol": 0.05 * float(expected.detach().abs().max())}
    torch.testing.assert_close(out.float(), expected, **close)


def test_calibrate_reset_and_repr():
    w, pos, batch = flow()
    model = make(T(2), fill=0.5)
    model.calibrate(pos, batch)
    before = copy.deepcopy(model.state_dict())
    assert model(w, pos, batch).isfinite().all()
    model.reset_parameters()
    assert not model.net.lin_in.weight.equal(before["net.lin_in.weight"])
    assert str(model) == "FieldLieResNet(3, 2, group=T(2))"


def test_what_does_not_fit():
    w, pos, batch = flow()
    model = make()
    for wrong in (w[:, :2], w[1:], w[..., :1], w[0]):
        with pytest.raises(ValueError, match=r"'vectors' must be of shape \(13, 3, 2"):
            model(wrong, pos, batch)
    with pytest.raises(TypeError, match=r"'vectors' are torch\.float32 and the"):
        model(w.float(), pos, batch)
    edges = nearest(pos, batch)
    for wrong in (edges.float(), edges[:1], edges[0]):
        with pytest.raises(ValueError, match=r"'edge_index' must be a tensor of int"):
            model(w, pos, batch, edge_index=wrong)
    for pair in ([0, 13], [-1, 0], [13, 13], [0, 12]):
        with pytest.raises(ValueError, match="must join points of one example"):
            model(w, pos, batch, edge_index=torch.tensor(pair).view(2, 1))
    with pytest.raises(TypeError, match="'pool'"):
        FieldLieResNet(3, 2, T(2), pool="mean")
    for group in (RxSO2(), SIM2()):
        with pytest.raises(ValueError, match="set 'magnitude=False'"):
            FieldLieResNet(3, 2, group)
        assert FieldLieResNet(3, 2, group, magnitude=False).motion
    with pytest.raises(ValueError, match="'in_vectors' must be at least 1"):
        FieldLieResNet(0, 2, T(2))
    with pytest.raises(TypeError, match="'group' must be a LieGroup"):
        FieldLieResNet(3, 2, "T2")
