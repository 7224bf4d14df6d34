import copy

import pytest
import torch

from lieconv_pyg import LieResNet, equivariance_error
from lieconv_pyg.groups import SE2, SE3, SO2, SO3, RxSO2, T
from lieconv_pyg.lifting import lift

from .conftest import make_lifted, make_points, num_lifts_of, randomize, transport


def make(group, dtype=torch.double, **kwargs):
    kwargs = dict(hidden_channels=16, num_layers=2) | kwargs
    model = LieResNet(3, 2, group, **kwargs).to(dtype)
    return randomize(model).eval()


@pytest.mark.parametrize("fill", [1.0, 0.6])
def test_equivariance_of_transported_lifts(group, fill):
    x, pos, batch = make_points(group)
    model = make(group, fill=fill, num_lifts=num_lifts_of(group))
    model.calibrate(pos, batch)
    lifted = make_lifted(group, pos, batch)
    out = model(x, lifted=lifted)
    again = model(x, lifted=transport(group, lifted))
    assert out.shape == (3, 2)
    assert (out - again).abs().max() < 1e-10
    error = equivariance_error(
        model, group, x, pos, batch, transport=True, num_lifts=num_lifts_of(group)
    )
    assert error < 1e-10


@pytest.mark.parametrize("fill", [1.0, 0.6])
def test_equivariance_without_transport(group, fill):
    """Exact for unique lifts, and for all groups that lift by frames."""
    x, pos, batch = make_points(group, (6, 4, 7))
    model = make(group, fill=fill, lift="frames")
    model.calibrate(pos, batch)
    assert equivariance_error(model, group, x, pos, batch) < 1e-10


@pytest.mark.parametrize("group", [SE2(), SO3(), SE3()], ids=str)
def test_fixed_lifts_are_not_exactly_equivariant(group):
    """The two tests above can fail: one set of lifts for all poses does."""
    x, pos, batch = make_points(group, (6, 4, 7))
    model = make(group, num_lifts=2)
    assert equivariance_error(model, group, x, pos, batch) > 1e-6


def test_batched_is_single(group):
    x, pos, batch = make_points(group)
    model = make(group, fill=0.6, num_lifts=num_lifts_of(group))
    model.calibrate(pos, batch)
    out = model(x, pos, batch)
    for example in range(3):
        mine = batch == example
        single = model(x[mine], pos[mine])
        torch.testing.assert_close(out[example : example + 1], single)


def test_permutation_of_points(group):
    x, pos, batch = make_points(group, (8,))
    model = make(group, fill=0.5, num_lifts=num_lifts_of(group), ratio=0.5)
    model.calibrate(pos, batch)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(model(x[order], pos[order]), model(x, pos))


def test_evaluation_repeats_itself_and_training_draws_anew():
    group = SE3()
    x, pos, batch = make_points(group, (9, 8))
    model = make(group, num_lifts=2, fill=0.5, num_neighbors=3)
    model.calibrate(pos, batch)
    assert model(x, pos, batch).equal(model(x, pos, batch))
    model.train()
    outs = [model(x, pos, batch) for _ in range(2)]
    assert not outs[0].allclose(outs[1])
    seeded = [
        model(x, pos, batch, generator=torch.Generator().manual_seed(7))
        for _ in range(2)
    ]
    assert seeded[0].equal(seeded[1])


def test_sampling_in_evaluation_is_asked_for():
    group = T(2)
    x, pos, _ = make_points(group, (12,))
    models = [
        make(group, num_neighbors=3, eval_num_neighbors=number, seed=seed)
        for number, seed in ((None, 0), (3, 0), (3, 1))
    ]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    outs = [model(x, pos) for model in models]
    assert not outs[0].allclose(outs[1]) and not outs[1].allclose(outs[2])
    assert models[1](x, pos).equal(outs[1])


def test_one_graph_for_one_resolution():
    model = make(T(2), num_layers=4, fill=0.5)
    assert len(model.neighborhoods) == 1
    assert len(make(T(2), num_layers=3, ratio=0.5).neighborhoods) == 3
    mixed = make(T(2), num_layers=3, fill=[0.5, 0.5, 0.2])
    assert len(mixed.neighborhoods) == 2
    _, pos, batch = make_points(T(2), (20,))
    mixed.calibrate(pos, batch)
    graphs = [level.graph for level in mixed.resolutions(lift(T(2), pos))]
    assert graphs[0] is graphs[1]
    assert graphs[2].edge_index.size(1) < graphs[1].edge_index.size(1)


@pytest.mark.parametrize("group", [T(2), SE2(), SO2()], ids=str)
def test_subsampling(group):
    x, pos, batch = make_points(group, (16, 9))
    model = make(
        group,
        num_lifts=num_lifts_of(group),
        num_layers=3,
        hidden_channels=[8, 12, 16, 24],
        ratio=0.5,
        fill=[0.3, 0.6, 1.0],
    )
    model.calibrate(pos, batch)
    lifted = make_lifted(group, pos, batch)
    levels = model.resolutions(lifted)
    sizes = [len(levels[0].lifted.batch), *(len(level.keep) for level in levels)]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] >= 4
    out = model(x, pos, batch)
    assert out.shape == (2, 2)
    again = model(x, lifted=transport(group, lifted))
    assert (model(x, lifted=lifted) - again).abs().max() < 1e-10


def test_pooling():
    group = SE3()
    x, pos, batch = make_points(group)
    model = make(group, num_lifts=2, pool=None)
    points = model(x, pos, batch)
    assert points.shape == (13, 2)
    for pool, reduce in (("mean", torch.mean), ("sum", torch.sum)):
        model.pool = pool
        expected = [reduce(points[batch == example], 0) for example in range(3)]
        torch.testing.assert_close(model(x, pos, batch), torch.stack(expected))
        with_empty = model(x, pos, batch, batch_size=5)
        torch.testing.assert_close(with_empty[:3], torch.stack(expected))
        assert with_empty[3:].eq(0).all()


def test_attention_pooling(group):
    x, pos, batch = make_points(group, (6, 1, 7))
    lifts = {"num_lifts": num_lifts_of(group)}
    model = make(group, pool="attention", **lifts)
    assert (
        equivariance_error(model, group, x, pos, batch, transport=True, **lifts) < 1e-10
    )
    out = model(x, pos, batch)
    for example in range(3):
        mine = batch == example
        single = model(x[mine], pos[mine])
        torch.testing.assert_close(out[example : example + 1], single)

    with_gap = model(x, pos, 2 * batch, batch_size=6)
    torch.testing.assert_close(with_gap[::2], out)
    assert with_gap[1::2].eq(0).all()

    # Equal weights make the mean.
    mean = make(group, **lifts)
    mean.load_state_dict(model.state_dict(), strict=False)
    gate = model.attention.gate_nn
    assert (out - mean(x, pos, batch)).abs().max() > 1e-3
    gate.weight.data.zero_()
    torch.testing.assert_close(model(x, pos, batch), mean(x, pos, batch))


def test_each_network_has_its_own_radial_basis():
    basis = torch.nn.Sequential(torch.nn.Unflatten(0, (-1, 1)), torch.nn.Linear(1, 4))
    before = basis[1].weight.clone()
    first = make(T(3), radial_basis=basis)
    x, pos, batch = make_points(T(3))
    out = first(x, pos, batch)
    make(T(3), radial_basis=basis).double()
    assert torch.equal(basis[1].weight, before)
    assert torch.equal(first(x, pos, batch), out)
    first.train()(x, pos, batch).sum().backward()
    assert first.blocks[0].conv.radial_basis[1].weight.grad.abs().max() > 0


def test_extensive():
    """Far copies of an example add up, in sum pooling with a radius."""
    group = T(3)
    x, pos, _ = make_points(group, (5,))
    model = make(group, radius=3.0, pool="sum")
    twice = model(torch.cat([x, x]), torch.cat([pos, pos + 100]))
    torch.testing.assert_close(twice, 2 * model(x, pos))


def test_radius_from_fill():
    group = T(2)
    x, pos, batch = make_points(group, (40, 60))
    model = make(group, fill=0.25)
    with pytest.raises(RuntimeError, match="calibrate"):
        model(x, pos, batch)
    model.train()(x, pos, batch)
    (neighborhood,) = model.neighborhoods
    radius = float(neighborhood.radius)
    model(x, 3 * pos, batch)
    assert float(neighborhood.radius) == radius

    graph = neighborhood(lift(group, pos, batch))
    degree = torch.bincount(graph.edge_index[1])
    size = torch.bincount(batch)[batch]
    assert float((degree / size).mean()) == pytest.approx(0.25, abs=0.01)

    loaded = make(group, fill=0.25)
    loaded.load_state_dict(model.state_dict())
    assert float(loaded.neighborhoods[0].radius) == radius
    assert (
        float(copy.deepcopy(model).float().double().neighborhoods[0].radius) == radius
    )


def test_smooth_where_a_neighbourhood_ends():
    """A point that leaves the ball takes its weight smoothly to zero."""
    group = T(2)
    torch.manual_seed(0)
    model = make(group, radius=1.0, envelope=True, norm=None, num_layers=1)
    x = 100 * torch.randn(3, 3, dtype=torch.double)

    def derivatives(model, s):
        """Value, first and second derivative where the points are s apart."""
        s = torch.tensor(s, dtype=torch.double, requires_grad=True)
        zero = torch.zeros_like(s)
        pos = torch.stack([torch.stack([zero, zero]), torch.stack([s, zero])])
        other = torch.tensor([[0.3, 0.4]], dtype=torch.double)
        out = [model(x, torch.cat([pos, other]))[0, 0]]
        for _ in range(2):
            out.extend(torch.autograd.grad(out[-1], s, create_graph=True))
        return torch.stack(out).detach()

    def jumps(model):
        edge, h = 1 / group.alpha, 1e-7  # distance 1
        return (derivatives(model, edge + h) - derivatives(model, edge - h)).abs()

    assert jumps(model).max() < 1e-5
    hard = make(group, radius=1.0, norm=None, num_layers=1)
    hard.load_state_dict(model.state_dict())
    assert jumps(hard).max() > 1e-3


@pytest.mark.parametrize("norm", [None, "batch_norm"])
def test_trains(norm):
    """All parameters get gradients, and the loss of a small problem falls."""
    torch.manual_seed(0)
    group = SE2()
    x, pos, batch = make_points(group, (5,) * 16, dtype=torch.float)
    y = torch.stack([pos[batch == b].var(0).sum() for b in range(16)]).view(-1, 1)
    model = LieResNet(3, 1, group, 16, 2, num_lifts=2, norm=norm)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(x, pos, batch) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert losses[-1] < 0.3 * losses[0]


def test_one_point_and_one_example():
    for group in (T(2), SE2(), RxSO2()):
        x, pos, batch = make_points(group, (1,))
        model = make(group)
        assert model(x, pos).isfinite().all()
        assert model.train()(x, pos, batch).isfinite().all()


def test_float32_is_close_to_float64(group):
    x, pos, batch = make_points(group)
    model = make(group, num_lifts=num_lifts_of(group))
    expected = model(x, pos, batch)
    out = model.float()(x.float(), pos.float(), batch)
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "kwargs", [dict(radius=0.8), dict(k=3), dict(ratio=0.5)], ids=str
)
def test_gradients_by_torch_func(kwargs):
    """Through the neighbour search, as for forces and Hamiltonians."""
    group = SE2()
    x, pos, _ = make_points(group, (7,))
    model = make(group, **kwargs)
    expected = pos.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(x, expected).sum(), expected)
    grad = torch.func.grad(lambda pos: model(x, pos).sum())(pos)
    torch.testing.assert_close(grad, expected)
    assert grad.abs().max() > 1e-6


def test_forces(group):
    """The gradient in the points, by finite differences; coincident points too."""
    x, pos, batch = make_points(group, (4, 3))
    model = make(group, num_layers=1, num_lifts=num_lifts_of(group), norm=None)
    assert torch.autograd.gradcheck(
        lambda pos: model(x, pos, batch), pos.requires_grad_(), fast_mode=True
    )
    with torch.no_grad():
        pos[1] = pos[0]
    (force,) = torch.autograd.grad(model(x, pos, batch).sum(), pos, create_graph=True)
    (second,) = torch.autograd.grad(force.square().sum(), pos)
    assert force.isfinite().all()
    assert second.isfinite().all()


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm", "LayerNorm", None])
def test_no_norm_mixes_examples(norm):
    x, pos, batch = make_points(T(2), (6, 5))
    model = make(T(2), norm=norm)
    both = model(x, pos, batch)
    torch.testing.assert_close(model(x[:6], pos[:6]), both[:1])
    with pytest.raises(ValueError, match="norm"):
        make(T(2), norm="graph_norm")


def test_a_failed_calibration_leaves_the_model_as_it_was():
    x, pos, batch = make_points(T(2), (20,))
    model = make(T(2), fill=0.5)
    model.calibrate(pos)
    expected = model(x, pos)
    with pytest.raises(ValueError, match="NaN"):
        model.calibrate(pos * float("nan"))
    with pytest.raises(ValueError, match="'pos' has no examples"):
        model.calibrate(torch.ones_like(pos), batch)
    assert not model.lift.training
    assert model(x, pos).equal(expected)


def test_the_checker_sees_what_is_not_a_number():
    x, pos, _ = make_points(T(2), (5,))
    error = equivariance_error(
        lambda x, pos, batch: pos.sum(0) * torch.nan, T(2), x, pos
    )
    assert error != error
    error = equivariance_error(lambda x, pos, batch: pos.sum(0), T(2), x, pos)
    assert error > 0.1


def test_a_graph_that_was_built_before():
    group = SE2()
    x, pos, batch = make_points(group, (6, 5))
    model = make(group, radius=0.8)
    lifted = make_lifted(group, pos, batch)
    (search,) = model.neighborhoods
    graph = search(lifted)
    out = model(x, lifted=lifted, graph=graph)
    assert out.equal(model(x, lifted=lifted))
    with pytest.raises(ValueError, match="resolutions"):
        make(group, ratio=0.5)(x, lifted=lifted, graph=graph)
    with pytest.raises(ValueError, match="edge_weight"):
        make(group, radius=0.8, envelope=True)(x, lifted=lifted, graph=graph)
    levels = model.resolutions(lifted)
    assert out.equal(model(x, lifted=lifted, graph=levels))


@pytest.mark.parametrize(
    "kwargs,match",
    [
        (dict(fill=0.0), "fill"),
        (dict(fill=1.5), "fill"),
        (dict(fill=[0.5, 0.5, 0.5]), "fill"),
        (dict(radius=-1.0), "radius"),
        (dict(radius=1.0, fill=0.5), "not both"),
        (dict(num_neighbors=0), "num_neighbors"),
        (dict(num_lifts=0), "num_lifts"),
        (dict(num_lifts=2), "single lift"),
        (dict(lift="random"), "lift"),
        (dict(ratio=0.0), "ratio"),
        (dict(ratio=0.5, pool=None), "ratio"),
        (dict(pool="max"), "'attention' or None"),
        (dict(num_layers=0), "num_layers"),
        (dict(envelope=True), "envelope"),
        (dict(k=3, fill=0.5), "k"),
        (dict(hidden_channels=[8, 8]), "hidden_channels"),
        (dict(fill="a"), "fill"),
        (dict(radius="a"), "radius"),
        (dict(num_neighbors=2.5), "num_neighbors"),
        (dict(num_layers=2.5), "num_layers"),
        (dict(norm="pair_norm"), "norm"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises((ValueError, TypeError), match=match):
        make(T(2), **kwargs)


def test_bad_input():
    model = make(T(2))
    x, pos, batch = make_points(T(2))
    for error, match, args in [
        (ValueError, "'x'", (x[:, :2], pos, batch)),
        (ValueError, "'x' has 2 rows", (x[:2], pos, batch)),
        (ValueError, "pos", (x,)),
        (ValueError, "NaN", (x, pos * float("nan"), batch)),
        (TypeError, "'x'", (x.tolist(), pos, batch)),
        (TypeError, "'x' is torch.float32", (x.float(), pos, batch)),
        (TypeError, "'x'", (x.long(), pos, batch)),
    ]:
        with pytest.raises(error, match=match):
            model(*args)
    with pytest.raises(ValueError, match="batch_size"):
        model(x, pos, batch, batch_size=2)
    with pytest.raises(TypeError, match="lifted"):
        model(x, lifted=pos)
    with pytest.raises(ValueError, match="another group"):
        model(x, lifted=make_lifted(SE3(), pos @ torch.ones(2, 3).double(), batch))


def test_nearest_neighbours():
    group = T(2)
    x, pos, batch = make_points(group, (9, 4))
    model = make(group, k=3)
    (level, _) = model.resolutions(lift(group, pos, batch))
    assert torch.bincount(level.graph.edge_index[1]).eq(3).all()
    assert model(x, pos, batch).isfinite().all()


def test_repr():
    assert str(make(T(2))) == f"LieResNet(3, 2, group={T(2)}, num_layers=2)"
