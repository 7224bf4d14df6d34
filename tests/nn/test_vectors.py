"""Vectors as outputs."""

import pytest
import torch
from ase.build import molecule

from lieconv_pyg import LieResNet, MoleculeLieResNet, equivariance_error
from lieconv_pyg.groups import SE2, SE3, SO2, SO3, RxSO2, T, Trivial
from lieconv_pyg.lifting import lift_frames
from lieconv_pyg.nn.readout import pool_lifted, turn_vectors

from .conftest import make_points, num_lifts_of, randomize, transport

FRAMES = [SE2(), SO3(), SE3()]
POOLS = ["mean", "sum", "attention", None]


@torch.no_grad()
def prepare(model):
    """In double precision, with kernels so steep that vectors do not nearly cancel."""
    for name, value in randomize(model.double()).named_parameters():
        if "kernel.lins" in name and "weight" in name:
            value.mul_(8)
    return model.eval()


def make(group, **kwargs):
    torch.manual_seed(0)
    kwargs = dict(hidden_channels=16, num_layers=2, out_vectors=True) | kwargs
    return prepare(LieResNet(3, 2, group, **kwargs))


def make_molecular(group, **kwargs):
    torch.manual_seed(0)
    kwargs = dict(hidden_channels=16, num_layers=2, out_vectors=True) | kwargs
    return prepare(MoleculeLieResNet(group, **kwargs))


def atoms(name):
    found = molecule(name)
    return torch.from_numpy(found.numbers).long(), torch.from_numpy(found.positions)


def batch_of(*names):
    z, pos = zip(*map(atoms, names), strict=True)
    sizes = torch.tensor([len(one) for one in z])
    return torch.cat(z), torch.cat(pos), torch.arange(len(z)).repeat_interleave(sizes)


def motions(group, num=3):
    source = torch.Generator().manual_seed(4)
    return group.sample(num, 1, generator=source, dtype=torch.double)


def check_equivariant(model, group, x, pos, batch=None, tolerance=1e-10):
    out = model(x, pos, batch)
    for g in motions(group):
        expected = group.act_on_vectors(g.unsqueeze(1), out)
        moved = model(x, group.act(g, pos), batch)
        assert (moved - expected).abs().max() < tolerance
    return out


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("group", FRAMES, ids=str)
def test_frames_are_exact(group, pool):
    x, pos, batch = make_points(group, (6, 1, 2, 7))
    model = make(group, lift="frames", pool=pool)
    out = check_equivariant(model, group, x, pos, batch)
    first = 16 if pool is None else 4
    assert out.shape == (first, 2, group.space_dim)
    assert out[-1].abs().max() > 5e-3
    assert equivariance_error(model, group, x, pos, batch, vectors=True) < 1e-10
    assert equivariance_error(model, group, x, pos, batch) > 0.1


def test_transported_lifts(group):
    x, pos, batch = make_points(group)
    model = make(group, num_lifts=num_lifts_of(group), fill=0.6, ratio=0.7)
    model.calibrate(pos, batch)
    lifted = model.lift(pos, batch)
    moved = transport(group, lifted)
    g = group.compose(moved.element[:1], group.inverse(lifted.element[:1]))
    out, after = model(x, lifted=lifted), model(x, lifted=moved)
    expected = group.act_on_vectors(g, out)
    torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-10)
    assert out.shape == (3, 2, group.space_dim)


@pytest.mark.parametrize("group", [SO2(), RxSO2(), T(3), Trivial(2)], ids=str)
def test_groups_with_one_lift_are_exact(group):
    x, pos, batch = make_points(group, (6, 5))
    check_equivariant(make(group), group, x, pos, batch)


@pytest.mark.parametrize("group", FRAMES, ids=str)
def test_kept_points_are_turned(group):
    x, pos, batch = make_points(group, (8, 9))
    model = make(group, lift="frames", ratio=0.5)
    check_equivariant(model, group, x, pos, batch)


def test_random_lifts_are_equivariant_in_the_mean():
    group, copies = SE2(), 16384
    x, pos, _ = make_points(group, (3,))
    model = make(group, norm=None, num_lifts=2, num_layers=3).train()  # draws lifts
    model.lin_out.bias.data.zero_()
    batch = torch.arange(copies).repeat_interleave(3)

    def mean_and_error(pos, seed):
        source = torch.Generator().manual_seed(seed)
        many = (x.repeat(copies, 1), pos.repeat(copies, 1), batch)
        with torch.no_grad():
            out = model(*many, generator=source)
        return out[:, 0].mean(0), float(out[:, 0].std(0).max()) / copies**0.5

    mean, error = mean_and_error(pos, 1)
    for seed, g in enumerate(motions(group)):
        expected = group.act_on_vectors(g, mean)
        after = mean_and_error(group.act(g, pos), 2 + seed)[0]
        assert (after - expected).abs().max() < 5 * error
    assert mean.norm() > 12 * error


def test_fixed_lifts_and_mirror_images_promise_nothing():
    """The tests above can fail."""
    group = SE3()
    x, pos, _ = make_points(group, (6,))
    model = make(group, num_lifts=2)
    g = motions(group, 1)[0]
    expected = group.act_on_vectors(g, model(x, pos))
    assert (model(x, group.act(g, pos)) - expected).abs().max() > 1e-3
    exact = make(group, lift="frames")
    mirror = torch.tensor([1.0, 1.0, -1.0], dtype=torch.double)
    assert (exact(x, pos * mirror) - mirror * exact(x, pos)).abs().max() > 1e-3


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_batched_is_single_and_permutation(pool):
    group = SE3()
    x, pos, batch = make_points(group, (6, 1, 7))
    model = make(group, lift="frames", pool=pool)
    out = model(x, pos, batch)
    for example in range(3):
        mine = batch == example
        single = model(x[mine], pos[mine])
        torch.testing.assert_close(out[example : example + 1], single)
    order = torch.cat([torch.randperm(6), torch.tensor([6]), 7 + torch.randperm(7)])
    torch.testing.assert_close(model(x[order], pos[order], batch), out)
    with_gap = model(x, pos, 2 * batch, batch_size=6)
    torch.testing.assert_close(with_gap[::2], out)
    assert with_gap[1::2].eq(0).all()


def test_pooling():
    group = SE2()
    x, pos, batch = make_points(group)
    model = make(group, num_lifts=3, pool=None)
    points = model(x, pos, batch)
    for pool, reduce in (("mean", torch.mean), ("sum", torch.sum)):
        model.pool = pool
        expected = [reduce(points[batch == example], 0) for example in range(3)]
        torch.testing.assert_close(model(x, pos, batch), torch.stack(expected))

    attention = make(group, num_lifts=3, pool="attention")
    model.pool = "mean"
    model.load_state_dict(attention.state_dict(), strict=False)
    mean = model(x, pos, batch)
    assert (attention(x, pos, batch) - mean).abs().max() > 1e-3
    attention.attention.gate_nn.weight.data.zero_()  # equal weights make the mean
    torch.testing.assert_close(attention(x, pos, batch), mean)


def test_readout_by_hand():
    group = SE2()
    _, pos, batch = make_points(group, (3, 2))
    lifted = make(group, num_lifts=2).lift(pos, batch)
    v = torch.randn(10, 4, dtype=torch.double)
    out = pool_lifted(turn_vectors(group, lifted, v), "mean", lifted, lifted, 5, 2)
    turned = torch.einsum("mij,mcj->mci", lifted.element[:, :2, :2], v.view(10, 2, 2))
    expected = torch.stack([turned[:6].mean(0), turned[6:].mean(0)])
    torch.testing.assert_close(out.view(2, 2, 2), expected)


@pytest.mark.parametrize("group", [T(3), SE3()], ids=str)
def test_far_copies_add_up(group):
    """Where the lifts of a point depend on it alone: frames see the whole cloud."""
    x, pos, _ = make_points(group, (5,))
    model = make(group, radius=3.0, pool="sum", num_lifts=num_lifts_of(group))
    twice = model(torch.cat([x, x]), torch.cat([pos, pos + 100]))
    torch.testing.assert_close(twice, 2 * model(x, pos))


@pytest.mark.parametrize("group", [T(3), *FRAMES], ids=str)
def test_gradients(group):
    x, pos, batch = make_points(group, (4, 3))
    lift = "haar" if group == T(3) else "frames"
    model = make(group, num_layers=1, norm=None, lift=lift, pool="attention")
    assert torch.autograd.gradcheck(
        lambda x, pos: model(x, pos, batch),
        (x.requires_grad_(), pos.requires_grad_()),
        fast_mode=True,
    )


def test_precision():
    group = SE3()
    x, pos, batch = make_points(group)
    model = make(group, lift="frames")
    expected = model(x, pos, batch)
    model.float()
    out = model(x.float(), pos.float(), batch)
    assert out.dtype == model(x.float(), pos, batch).dtype == torch.float
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x.float(), pos.float(), batch)
    assert half.dtype == torch.float
    torch.testing.assert_close(half, out, rtol=0.1, atol=0.1)


def test_readout_compiles():
    group = SE3()
    _, pos, batch = make_points(group)
    lifted = lift_frames(group, pos, batch, vectors=True)
    v = torch.randn(lifted.num_points, 6, dtype=torch.double)

    def read_out(v, lifted):
        out = turn_vectors(group, lifted, v)
        return pool_lifted(out, "sum", lifted, lifted, 13, 3)

    compiled = torch.compile(read_out, fullgraph=True, dynamic=True, backend="eager")
    torch.testing.assert_close(compiled(v, lifted), read_out(v, lifted))


def test_parameters_of_networks_without_vectors_are_as_before():
    model = LieResNet(3, 2, T(2), 16, 2, pool="attention")
    names = list(model.state_dict())
    assert names[:3] == ["neighborhoods.0.radius", "lin_in.weight", "lin_in.bias"]
    assert {name.split(".")[0] for name in names[3:-4]} == {"blocks", "norm"}
    assert names[-4:] == [
        "lin_out.weight",
        "lin_out.bias",
        "attention.gate_nn.weight",
        "attention.gate_nn.bias",
    ]
    assert model.lin_out.weight.shape == (2, 16)
    assert model.attention.gate_nn.weight.shape == (16, 16)
    assert len(LieResNet(3, 2, T(2), 16, 2).state_dict()) == len(names) - 2
    vectors = LieResNet(3, 2, T(2), 16, 2, pool="attention", out_vectors=True)
    assert list(vectors.state_dict()) == names
    assert vectors.lin_out.weight.shape == (4, 16)
    before = model.attention.gate_nn.weight.clone()
    model.reset_parameters()
    assert not model.attention.gate_nn.weight.equal(before)


NAMES = ("H2O", "CH4", "CO2", "HCN", "C6H6", "CH3CH2OH", "NH3", "O")


@pytest.mark.parametrize("pool", ["mean", "sum", "attention"])
@pytest.mark.parametrize("group", [SE3(), SO3()], ids=str)
def test_molecules_with_frames(group, pool):
    """Exact, wherever and however they lie, symmetric ones and linear ones too."""
    z, pos, batch = batch_of(*NAMES)
    model = make_molecular(group, lift="frames", pool=pool)
    out = model(z, pos, batch)
    assert out.shape == (8, 3)
    assert model.out_vectors
    for g in motions(SO3()):
        turned = model(z, pos @ g[0].T + 7.0, batch)
        # Tabulated coordinates are symmetric to some digits only.
        assert (turned - out @ g[0].T).abs().max() < 1e-10
    water, methane, co2, hcn, benzene, _, ammonia, atom = out
    assert max(one.abs().max() for one in (atom, co2, benzene)) < 1e-4
    assert atom.abs().max() < 1e-10 and co2.abs().max() < 1e-10
    assert methane.abs().max() < 1e-10
    # Along the axis of symmetry, z in these coordinates.
    for one in (water, hcn):
        assert one[:2].abs().max() < 1e-10 and one[2].abs() > 1e-3
    assert ammonia[:2].abs().max() < 1e-4 and ammonia[2].abs() > 1e-3


def test_molecules_without_rotations():
    z, pos, batch = batch_of("H2O", "CH4")
    for group in (T(3), Trivial(3)):
        model = make_molecular(group)
        out = model(z, pos, batch)
        torch.testing.assert_close(model(z, pos + 7.0, batch), out)
        assert out[1].abs().max() > 1e-3  # no rotation, no zero
    assert not MoleculeLieResNet(T(3), num_layers=1).out_vectors


def test_several_vectors_and_vectors_of_atoms():
    z, pos, batch = batch_of("H2O", "CH4")
    model = make_molecular(SE3(), out_channels=2, lift="frames")
    assert model(z, pos, batch).shape == (2, 2, 3)
    assert model(z, pos, batch, batch_size=4)[2:].eq(0).all()
    one = make_molecular(SE3(), lift="frames", pool=None)
    assert one(z, pos, batch).shape == (8, 3)


@pytest.mark.parametrize("kwargs", [{}, {"out_channels": 2}, {"pool": None}], ids=str)
def test_augmentation_is_turned_back(kwargs):
    """Without normalization, training with exact frames is evaluation."""
    z, pos, batch = batch_of("H2O", "CH4", "CH3CH2OH")
    model = make_molecular(SE3(), lift="frames", norm=None, **kwargs)
    expected = model(z, pos, batch)
    model.train()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        out = model(z, pos, batch, generator=generator)
        assert (out - expected).abs().max() < 1e-10


def test_augmentation_sees_other_poses():
    """With T(3), which knows no rotation, the answer depends on the turn, and only on
    the pose after it."""
    z, pos, _ = batch_of("CH3CH2OH")
    model = make_molecular(T(3), norm=None, augment_translation=0.0).train()

    def source():
        return torch.Generator().manual_seed(0)

    out = model(z, pos, generator=source())
    rotation = SO3().sample(1, generator=source(), dtype=torch.double)[0]
    expected = model.eval()(z, pos @ rotation.T) @ rotation
    torch.testing.assert_close(out, expected)
    assert (out - model(z, pos)).abs().max() > 1e-3


def test_learns_vectors():
    """Sums of positions weighted by a charge, in any pose."""
    torch.manual_seed(0)
    group = SE3()
    x, pos, batch = make_points(group, (4,) * 16, dtype=torch.float)
    pos = pos * torch.tensor([1.0, 2.0, 4.0])
    center = pos.view(16, 4, 3).mean(1, keepdim=True)
    y = (x.view(16, 4, 3)[..., :1] * (pos.view(16, 4, 3) - center)).sum(1)
    model = LieResNet(3, 1, group, 16, 2, lift="frames", norm=None, out_vectors=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x, pos, batch).squeeze(1) - y).square().mean()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.parameters())
    g = SO3().sample(1)[0]
    turned = model(x, pos @ g.T, batch).squeeze(1)
    assert (turned - y @ g.T).square().mean() < 0.05 * y.square().mean()


@pytest.mark.parametrize("name", ["CO2", "HCN", "C2H2"])
def test_nearly_linear_molecules(name):
    model = make_molecular(SE3(), lift="frames")
    z, pos = atoms(name)
    straight = model(z, pos)
    sizes = []
    for bend in (1e-7, 1e-5, 1e-3):
        bent = pos.clone()
        bent[0, 0] += bend  # the line is the third axis
        sizes.append((model(z, bent) - straight).norm() / bend)
    # Nothing jumps where a molecule is no longer straight: there is a derivative.
    assert max(sizes) < 5


@pytest.mark.parametrize("group", [SE2(), SO3(), SE3(), SO2(), T(3)], ids=str)
def test_vectors_as_features(group):
    """Turned with the points, they give the same numbers and turned vectors."""
    frames = group in (SE2(), SO3(), SE3())
    kwargs = {"lift": "frames"} if frames else {}
    model = make(group, in_vectors=2, pool=None, **kwargs)
    x, pos, batch = make_points(group)
    vectors = torch.randn(len(x), 2, group.space_dim, dtype=pos.dtype)
    turn = group.sample(dtype=pos.dtype)
    out = model(x, pos, batch, vectors=vectors)
    moved = model(
        *(x, group.act(turn, pos), batch), vectors=group.act_on_vectors(turn, vectors)
    )
    expected = group.act_on_vectors(turn, out)
    some = torch.bincount(batch)[batch] > 3  # frames are those of the points alone
    torch.testing.assert_close(moved[some], expected[some], rtol=0, atol=1e-10)
    other = model(x, pos, batch, vectors=vectors.flip(1))
    assert (other - out).abs().max() > 1e-4
    with pytest.raises(ValueError, match=r"'vectors' must be of shape .*got None"):
        model(x, pos, batch)
    with pytest.raises(ValueError, match=r"'vectors' must be of shape"):
        model(x, pos, batch, vectors=vectors[:, :1])
