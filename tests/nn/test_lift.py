import pytest
import torch

from lieconv_pyg.groups import SE2, SE3, SO3, MatrixLieGroup, T
from lieconv_pyg.nn import Lift

from .conftest import make_points

LINEAR = MatrixLieGroup.from_basis(SO3().generators())


def test_training_and_evaluation():
    group = SE3()
    _, pos, batch = make_points(group)
    module = Lift(group, num_lifts=3)
    first, second = module(pos, batch), module(pos, batch)
    assert first.element.shape == (39, 4, 4)
    assert not first.element.allclose(second.element)
    seeded = [module(pos, batch, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert seeded[0].element.equal(seeded[1].element)

    module.eval()
    first, second = module(pos, batch), module(pos[5:6])
    torch.testing.assert_close(first.element[15:18], second.element)
    origin = torch.zeros(39, 3, dtype=torch.double)
    torch.testing.assert_close(group.act(first.element, origin), pos[first.point])


@pytest.mark.parametrize("group", [SE2(), SO3(), SE3()], ids=str)
def test_frames(group):
    _, pos, batch = make_points(group, (6, 5))
    lifted = Lift(group, mode="frames")(pos, batch)
    frames = 2 if group.space_dim == 2 else 4
    assert torch.bincount(lifted.point).eq(frames).all()
    assert int(lifted.component.max()) + 1 == 2 * frames


@pytest.mark.parametrize(
    ("args", "error", "match"),
    [
        ((SE2(), 0), ValueError, "num_lifts"),
        ((SE2(), 1.5), TypeError, "num_lifts"),
        ((SE2(), 2, "frames"), ValueError, "frames"),
        ((SE2(), 1, "other"), ValueError, "lift"),
        ((T(2), 2), ValueError, "single lift"),
        ((LINEAR, 1, "frames"), ValueError, "no equivariant frames"),
    ],
)
def test_bad_arguments(args, error, match):
    with pytest.raises(error, match=match):
        Lift(*args)


def test_repr():
    assert repr(Lift(SE3(), 4)) == f"Lift({SE3()}, num_lifts=4)"
    assert repr(Lift(SE3(), mode="frames")) == f"Lift({SE3()}, frames)"
