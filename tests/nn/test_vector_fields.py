"""Vectors in and out, for every group and every network."""

import pytest
import torch

from lieconv_pyg import (
    ImageLieResNet,
    LieResNet,
    MoleculeLieResNet,
    equivariance_error,
)
from lieconv_pyg.dynamics import FLieResNet
from lieconv_pyg.groups import SE2, SE3, SO2, SO3, RxSO2, T
from lieconv_pyg.images import ImageToPoints
from lieconv_pyg.nn.images import turn_all

from .conftest import make_lifted, make_points, transport
from .test_vectors import prepare


def field(group, sizes=(6, 7), number=2):
    x, pos, batch = make_points(group, sizes)
    generator = torch.Generator().manual_seed(9)
    shape = len(x), number, group.space_dim
    return x, pos, batch, torch.randn(shape, generator=generator).double()


def make(group, **kwargs):
    torch.manual_seed(0)
    settings = dict(in_vectors=2, out_vectors=True) | kwargs
    if group.stabilizer_dim > 0:
        settings = dict(lift="frames") | settings
    return prepare(LieResNet(3, 2, group, 16, 2, **settings))


@pytest.mark.parametrize(
    "pool,ratio", [(None, 1.0), ("mean", 0.6), ("sum", 1.0), ("attention", 0.6)]
)
def test_every_group(group, pool, ratio):
    """Exactly: lifts are unique, or those of frames."""
    x, pos, batch, vectors = field(group)
    model = make(group, pool=pool, ratio=ratio)
    settings = dict(vectors=True, in_vectors=vectors)
    assert equivariance_error(model, group, x, pos, batch, **settings) < 1e-10
    out = model(x, pos, batch, vectors=vectors)
    assert out.shape == (13 if pool is None else 2, 2, group.space_dim)
    other = model(x, pos, batch, vectors=vectors.flip(1))
    assert (other - out).abs().max() > 1e-3 * out.abs().max()


def test_numbers_from_vectors(group):
    x, pos, batch, vectors = field(group)
    model = make(group, out_vectors=False)
    error = equivariance_error(model, group, x, pos, batch, in_vectors=vectors)
    assert error < 1e-10
    out = model(x, pos, batch, vectors=vectors)
    assert (model(x, pos, batch, vectors=2 * vectors) - out).abs().max() > 1e-6


def test_transported_lifts(group):
    """Random lifts, by a motion that takes them along."""
    x, pos, batch, vectors = field(group)
    lifted = make_lifted(group, pos, batch)
    model = make(group, pool=None)
    moved = transport(group, lifted)
    inverse = group.inverse(lifted.element)
    g = group.compose(moved.element, inverse)[:1]
    turned = group.act_on_vectors(g.unsqueeze(1), vectors)
    out = model(x, lifted=lifted, vectors=vectors)
    again = model(x, lifted=moved, vectors=turned)
    expected = group.act_on_vectors(g.unsqueeze(1), out)
    torch.testing.assert_close(again, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("group", [SO2(), RxSO2(), SE2(), SE3(), T(3)], ids=str)
def test_means_over_lifts(group):
    """An output is the mean of turned vectors over the lifts of a point."""
    x, pos, batch, vectors = field(group)
    lifted = make_lifted(group, pos, batch)
    model = make(group, pool=None)
    out = model(x, lifted=lifted, vectors=vectors)
    model.out_vectors = False
    model.out_channels *= group.space_dim
    local = _local(model, x, lifted, vectors)
    turned = group.act_on_vectors(lifted.element.unsqueeze(1), local)
    number = len(turned) // len(x)
    torch.testing.assert_close(out, turned.view(len(x), number, 2, -1).mean(1))


def _local(model, x, lifted, vectors):
    """Vectors in the frames of lifted points."""
    seen = []
    handle = model.lin_out.register_forward_hook(lambda *args: seen.append(args[-1]))
    model(x, lifted=lifted, vectors=vectors)
    handle.remove()
    return seen[0].unflatten(1, (2, -1))


@pytest.mark.parametrize("group", [SE3(), SO3()], ids=str)
@pytest.mark.parametrize("out_vectors", [True, False])
def test_molecules(group, out_vectors):
    """Velocities of atoms; where the molecule is augmented, they are too."""
    torch.manual_seed(0)
    z = torch.tensor([8, 1, 1, 6, 1, 1, 7])
    pos, velocity = torch.randn(2, 7, 3).double()
    velocity, batch = velocity.unsqueeze(1), torch.tensor([0, 0, 0, 1, 1, 1, 1])
    settings = dict(hidden_channels=16, num_layers=2, lift="frames", norm=None)
    if group == SO3():
        settings["augment_translation"] = 0.0
    model = MoleculeLieResNet(group, in_vectors=1, out_vectors=out_vectors, **settings)
    prepare(model)
    out = model(z, pos, batch, vectors=velocity)
    turn = SO3().sample(dtype=torch.double)
    turned = dict(vectors=velocity @ turn.T)
    moved = model(z, pos @ turn.T + 3, batch, **turned)
    expected = out @ turn.T if out_vectors else out
    assert (moved - expected).abs().max() < 1e-10
    trained = model.train()(z, pos, batch, vectors=velocity)
    assert (trained - out).abs().max() < 1e-10
    with pytest.raises(ValueError, match="'vectors' must be of shape"):
        model.eval()(z, pos, batch)


def images(size=6, number=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(number, 1, size, size, generator=generator, dtype=torch.double)
    batch = ImageToPoints().batch(x)
    shape = len(batch.x), 1, 2
    return batch, torch.randn(shape, generator=generator, dtype=torch.double)


def make_images(group, **kwargs):
    torch.manual_seed(0)
    kwargs = dict(num_layers=2, total_ratio=1.0, fill=1.0, num_neighbors=None) | kwargs
    lift = "frames" if group.stabilizer_dim else "haar"
    settings = dict(in_vectors=1, out_vectors=True, lift=lift) | kwargs
    return prepare(ImageLieResNet(group, 1, 2, 16, norm=None, **settings))


@pytest.mark.parametrize("pool", ["mean", None])
@pytest.mark.parametrize("group", [SE2(), SO2(), T(2)], ids=str)
def test_images(group, pool):
    """On a grid that is shared and on points, in evaluation with several turns."""
    batch, vectors = images()
    args = batch.x, batch.pos, batch.batch
    model = make_images(group, pool=pool, num_samples=3)
    alone = model(*args, vectors=vectors)
    model.calibrate(batch.pos, batch.batch)
    shared = model(*args, vectors=vectors)
    torch.testing.assert_close(shared, alone)
    assert alone.shape == (3 if pool else len(batch.x), 2, 2)
    model.num_samples = 1
    one = model(*args, vectors=vectors)
    difference = (one - shared).abs().max()
    assert difference > 1e-4 if group == T(2) else difference < 1e-10


@pytest.mark.parametrize("pool", ["mean", None])
def test_points_augmented_in_training(pool):
    """Turned, and what comes out turned back: nothing changes where it is exact."""
    batch, vectors = images()
    pos = batch.pos + 0.1 * torch.rand_like(batch.pos)  # no grid
    model = make_images(SE2(), pool=pool)
    args = batch.x, pos, batch.batch
    out = model(*args, vectors=vectors)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        trained = model.train()(*args, vectors=vectors, generator=generator)
        assert (trained - out).abs().max() < 1e-10
    other = make_images(T(2), pool=pool)
    trained = other.train()(*args, vectors=vectors)
    assert (trained - other.eval()(*args, vectors=vectors)).abs().max() > 1e-4


def test_images_augmented_in_training():
    """By quarter turns, which take pixels to pixels."""
    batch, vectors = images()
    model = make_images(SE2())
    model.calibrate(batch.pos, batch.batch)
    args = batch.x, batch.pos, batch.batch
    out = model(*args, vectors=vectors)
    angles = torch.pi / 2 * torch.tensor([1.0, 2.0, 3.0], dtype=torch.double)
    model._angles = lambda *_: angles
    trained = model.train()(*args, vectors=vectors)
    torch.testing.assert_close(trained, out, rtol=0, atol=1e-8)
    dense = make_images(SE2(), pool=None)  # outputs of pixels, wherever they are
    out = dense(*args, vectors=vectors)
    torch.testing.assert_close(dense.train()(*args, vectors=vectors), out)


@pytest.mark.parametrize("space_dim", [2, 3])
def test_turned_vectors(space_dim):
    group = SO2() if space_dim == 2 else SO3()
    turns = group.sample(4, dtype=torch.double)
    v = torch.randn(4, 5, space_dim).double()
    expected = torch.einsum("bij,bnj->bni", turns, v)
    torch.testing.assert_close(turn_all(turns.unsqueeze(1), v), expected)


@pytest.mark.parametrize("group", [T(2), SO2(), RxSO2(), T(3)], ids=str)
def test_dynamics(group):
    """Momenta that turn with positions, and derivatives of both."""
    torch.manual_seed(0)
    network = prepare(FLieResNet(group, 2, 16, 2, center=False))
    x, pos, batch, momentum = field(group, number=1)
    g = group.sample(dtype=pos.dtype)

    def derivative(pos, momentum):
        return network.derivative(x[:, :2], pos, momentum, batch, 2)

    moved = derivative(group.act(g, pos), group.act_on_vectors(g, momentum[:, 0]))
    expected = derivative(pos, momentum[:, 0])
    for one, two in zip(moved, expected, strict=True):
        turned = group.act_on_vectors(g, two)
        torch.testing.assert_close(one, turned, rtol=1e-10, atol=1e-10)
