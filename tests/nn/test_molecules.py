import pytest
import torch

from lieconv_pyg import MoleculeLieResNet
from lieconv_pyg.groups import SE2, SE3, SO3, T, Trivial

H, C, N, O, F = 1, 6, 7, 8, 9
Z = torch.tensor([O, H, H, C, H, H, H, H])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
POS = torch.tensor(
    [
        [0.0, 0.0, 0.119],
        [0.0, 0.763, -0.477],
        [0.0, -0.763, -0.477],
        [0.0, 0.0, 0.0],
        [0.629, 0.629, 0.629],
        [-0.629, -0.629, 0.629],
        [0.629, -0.629, -0.629],
        [-0.629, 0.629, -0.629],
    ]
)


def make(group, **kwargs):
    torch.manual_seed(0)
    kwargs = dict(hidden_channels=16, num_layers=2) | kwargs
    return MoleculeLieResNet(group, **kwargs).double().eval()


def test_features():
    """One-hot of H, C, N, O, F, times 1, Z/9, (Z/9)², species by species."""
    out = make(T(3)).features(torch.tensor([H, F, C]))
    assert out.shape == (3, 15)
    expected = torch.zeros(3, 15, dtype=torch.double)
    expected[0, 0:3] = torch.tensor([1, 1 / 9, 1 / 81])
    expected[1, 12:15] = 1
    expected[2, 3:6] = torch.tensor([1, 6 / 9, 36 / 81])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "group,kwargs",
    [(T(3), {}), (Trivial(3), {}), (SE3(), {"lift": "frames"}), (SO3(), {})],
    ids=str,
)
def test_molecules(group, kwargs):
    model = make(group, out_channels=2, **kwargs)
    pos = POS.double()
    out = model(Z, pos, BATCH)
    assert out.shape == (2, 2)
    # The centroid is taken out.
    torch.testing.assert_close(model(Z, pos + 7.0, BATCH), out)
    order = torch.tensor([2, 0, 1, 7, 6, 4, 3, 5])
    torch.testing.assert_close(model(Z[order], pos[order], BATCH), out)
    torch.testing.assert_close(model(Z[3:], pos[3:]), out[1:])


@pytest.mark.parametrize("group", [SE3(), SO3()], ids=str)
def test_frames_are_exact_for_symmetric_molecules(group):
    """Water is planar, methane a spherical top with an atom in its center."""
    model = make(group, lift="frames")
    pos = POS.double()
    rotation = SO3().sample(5, dtype=torch.double)
    out = model(Z, pos, BATCH)
    for g in rotation:
        assert (model(Z, pos @ g.T + 1.0, BATCH) - out).abs().max() < 1e-10


def test_augmentation_in_training_only():
    model = make(T(3), norm=None)
    pos = POS.double()
    assert model(Z, pos, BATCH).equal(model(Z, pos, BATCH))
    model.train()
    outs = [
        model(Z, pos, BATCH, generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    assert outs[0].equal(outs[1]) and not outs[0].allclose(outs[2])
    plain = make(T(3), norm=None, augment=False)
    assert plain.train()(Z, pos, BATCH).equal(plain(Z, pos, BATCH))


def test_augmentation_moves_rigidly():
    model = make(T(3))
    pos = POS.double()
    moved, _ = model._augment(pos, BATCH, 2, torch.Generator().manual_seed(0))
    for molecule in range(2):
        mine = BATCH == molecule
        before, after = pos[mine], moved[mine]
        torch.testing.assert_close(
            torch.cdist(after, after), torch.cdist(before, before)
        )
        assert (after - before).abs().max() > 0.1
    a = pos[4:] - pos[3]
    b = moved[4:] - moved[3]
    rotation = torch.linalg.lstsq(a, b).solution
    assert torch.linalg.det(rotation) == pytest.approx(1.0)


def test_position_scale():
    one, two = make(T(3)), make(T(3), pos_scale=2.0)
    two.load_state_dict(one.state_dict())
    pos = POS.double()
    torch.testing.assert_close(two(Z, 2 * pos, BATCH), one(Z, pos, BATCH))


def test_sum_is_extensive():
    model = make(T(3), pool="sum", radius=2.0, center=False)
    pos = POS.double()
    together = torch.cat([pos[:3], pos[:3] + 50.0])
    out = model(Z[:3].repeat(2), together)
    torch.testing.assert_close(out, 2 * model(Z[:3], pos[:3]))


@pytest.mark.parametrize(
    "kwargs,match",
    [
        (dict(group=SE2()), "space"),
        (dict(species=()), "species"),
        (dict(species=(1, 1)), "species"),
        (dict(pos_scale=0.0), "pos_scale"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        MoleculeLieResNet(**(dict(group=T(3)) | kwargs))


def test_bad_input():
    model = make(T(3))
    pos = POS.double()
    with pytest.raises(ValueError, match=r"\[17, 200\].*species"):
        model(torch.tensor([1, 17, 200, 6, 1, 1, 1, 1]), pos, BATCH)
    for z in (Z.double(), Z.tolist(), None):
        with pytest.raises(TypeError, match="'z' must be a tensor of integers"):
            model(z, pos, BATCH)
    assert model(Z.byte(), pos, BATCH).equal(model(Z, pos, BATCH))
    with pytest.raises(ValueError, match="'z' has 2 atoms"):
        model(Z[:2], pos, BATCH)
    with pytest.raises(ValueError, match="pos"):
        model(Z, pos[:, :2], BATCH)
