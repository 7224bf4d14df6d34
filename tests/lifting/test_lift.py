import pytest
import torch
from scipy.stats import kstest

from lieconv_pyg.groups import SE2, SE3, SO2, SO3, T
from lieconv_pyg.lifting import Lifted, lift
from tests.clouds import DTYPES, GROUPS, cloud, generator, ragged_batch

WITH_STABILIZER = [SE2(), SO3(), SE3()]


@pytest.mark.parametrize("num_lifts", [1, 3])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_lifts_reach_their_points(group, dtype, fixed, num_lifts):
    # Three points, examples and lifts: where a wrong axis would go unseen.
    pos, batch = cloud(group, 3, dtype=dtype), torch.tensor([0, 1, 2])
    lifted = lift(group, pos, batch, num_lifts, fixed=fixed, generator=generator())
    assert isinstance(lifted, Lifted)
    count = 3 * num_lifts
    assert lifted.element.shape == (count, group.matrix_dim, group.matrix_dim)
    assert lifted.orbit.shape == (count, group.orbit_dim)
    assert lifted.element.dtype == lifted.orbit.dtype == dtype
    expected = torch.arange(3).repeat_interleave(num_lifts)
    for index in lifted[2:]:
        assert torch.equal(index, expected)
    reached = group.act(lifted.element, group.origin(lifted.orbit))
    assert torch.allclose(reached, pos[lifted.point], atol=1e-5)


def test_default_batch():
    lifted = lift(T(3), cloud(T(3), 4))
    assert lifted.batch.tolist() == lifted.component.tolist() == [0] * 4
    assert lifted.point.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("group", WITH_STABILIZER, ids=str)
def test_fixed_lifts_depend_on_the_point_alone(group):
    pos, batch = cloud(group, 10), ragged_batch(4, 6)
    lifted = lift(group, pos, batch, 3, fixed=True)
    stabilizer = group.compose(
        group.inverse(lift(group, pos, fixed=True).element[:, None]),
        lifted.element.view(10, 3, group.matrix_dim, group.matrix_dim),
    )
    assert torch.allclose(stabilizer, stabilizer[:1].expand_as(stabilizer), atol=1e-12)

    order = torch.randperm(10, generator=generator())
    permuted = lift(group, pos[order], None, 3, fixed=True).element.view(10, 3, -1)
    assert torch.allclose(permuted, lifted.element.view(10, 3, -1)[order], atol=1e-14)
    alone = lift(group, pos[7:8], None, 3, fixed=True).element
    assert torch.allclose(alone, lifted.element[21:24], atol=1e-14)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    lift(group, pos, batch, 3, fixed=True)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("group", WITH_STABILIZER, ids=str)
def test_random_lifts(group):
    pos = cloud(group, 10)
    first = lift(group, pos, None, 2, generator=generator(1))
    again = lift(group, pos, None, 2, generator=generator(1))
    other = lift(group, pos, None, 2, generator=generator(2))
    assert torch.equal(first.element, again.element)
    assert not torch.allclose(first.element, other.element)
    # Every lift has a stabilizer element of its own.
    base = lift(group, pos, fixed=True).element.repeat_interleave(2, dim=0)
    elements = group.compose(group.inverse(base), first.element).flatten(1)
    assert elements.unique(dim=0).size(0) == 20


def test_random_lifts_are_uniform():
    # SE(2): the angle; SE(3): each entry of a Haar rotation is uniform on [-1, 1].
    pos = torch.zeros(2000, 2, dtype=torch.float64)
    u = lift(SE2(), pos, None, 2, generator=generator(4)).element
    angle = torch.atan2(u[:, 1, 0], u[:, 0, 0]) / (2 * torch.pi) + 0.5
    assert kstest(angle.numpy(), "uniform").pvalue > 1e-3
    pos = torch.zeros(2000, 3, dtype=torch.float64)
    u = lift(SE3(), pos, None, 2, generator=generator(4)).element
    for k in range(3):
        assert kstest((u[:, k, 2].numpy() + 1) / 2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_gradients(group):
    pos = cloud(group, 4).requires_grad_()
    with_lifts = 2 if group.stabilizer_dim > 0 else 1

    def function(pos):
        return lift(group, pos, None, with_lifts, fixed=True)[:2]

    assert torch.autograd.gradcheck(function, pos)


@pytest.mark.parametrize("value", [0, -1])
def test_too_few_lifts(value):
    with pytest.raises(ValueError, match="'num_lifts' must be at least 1"):
        lift(SE3(), torch.zeros(1, 3), None, value)


@pytest.mark.parametrize("value", [1.5, True, None])
def test_wrong_type(value):
    with pytest.raises(TypeError, match="'num_lifts' must be an integer"):
        lift(SE3(), torch.zeros(1, 3), None, value)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", [SO2(), SO3()], ids=str)
def test_rounding_has_no_direction(group, dtype):
    # A point at the center but for rounding: where it lifts to does not hang on it.
    pos = cloud(group, 4, dtype=dtype)
    noise = 3 * torch.finfo(dtype).eps * pos.abs().max()
    lifts = []
    for sign in (0, 1, -1):
        pos[1] = sign * noise
        lifts.append(lift(group, pos.requires_grad_(), fixed=True))
        pos = pos.detach()
    assert lifts[1].element.equal(lifts[0].element)
    assert lifts[2].orbit.equal(lifts[0].orbit)
    pos[1] = 1e-3
    assert not lift(group, pos, fixed=True).element.allclose(lifts[0].element)
