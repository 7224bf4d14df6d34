"""ImageLieResNet: shared grids, and points of any kind."""

import copy
import io

import pytest
import torch
from torch_geometric.data import Batch, Data

from lieconv_pyg import ImageLieResNet
from lieconv_pyg.groups import SE2, SE3, SO2, RxSO2, T, Trivial, Tx
from lieconv_pyg.images import ImageToPoints, rotate_images
from lieconv_pyg.nn.pixel_grid import PixelGrid

from .conftest import randomize, transport

GROUPS = [Trivial(2), Tx(), T(2), SO2(), RxSO2(alpha=0.3), SE2(alpha=0.2)]


def images(size=10, number=4, channels=1, seed=0, dtype=torch.double):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(number, channels, size, size, generator=random, dtype=dtype)


def make(group=None, dtype=torch.double, **settings):
    group = T(2) if group is None else group
    settings = {
        "num_lifts": 2 if group.stabilizer_dim > 0 else 1,
        "hidden_channels": 8,
        "num_layers": 2,
        "out_channels": 3,
        "total_ratio": 0.3,
        "fill": 0.2,
    } | settings
    torch.manual_seed(0)
    return randomize(ImageLieResNet(group, **settings).to(dtype))


def give(model, batch, **kwargs):
    return model(batch.x, batch.pos, batch.batch, **kwargs)


def test_published_sizes():
    """The numbers of the original network: widths, shares, parameters."""
    model = ImageLieResNet(T(2))
    assert sum(p.numel() for p in model.parameters()) == 588_645
    assert [block.out_channels for block in model.net.blocks] == [
        *(155, 187, 227, 275, 334, 404)
    ]
    fills = [search.fill for search in model.net.neighborhoods]
    assert fills[0] == 1 / 15
    assert fills[5] == pytest.approx(0.1 ** (-5 / 6) / 15)
    batch = ImageToPoints().batch(images(28, 2, dtype=torch.float))
    model.calibrate(batch.pos, batch.batch)
    _, found = model.grid.found(0, model._prepare)
    assert [len(now.keep) for now in found] == [442, 302, 206, 141, 97, 67]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_shared_is_each_for_itself(group):
    """What is shared gives what is computed for each image, and for one alone."""
    batch = ImageToPoints().batch(images())
    model = make(group)
    model.calibrate(batch.pos, batch.batch)
    assert model.grid.is_set
    model.eval()
    out = give(model, batch)
    singles = [model(data.x, data.pos) for data in batch.to_data_list()]
    torch.testing.assert_close(torch.cat(singles), out)
    if model.net.lift.num_lifts == 1:
        alone = copy.deepcopy(model)
        alone.grid.clear()
        torch.testing.assert_close(give(alone, batch), out)
        slow = alone.net(batch.x, batch.pos, batch.batch)
        torch.testing.assert_close(slow, out)


@pytest.mark.parametrize("group", [SO2(), SE2(), RxSO2(), T(2)], ids=str)
def test_equivariance_of_transported_lifts(group):
    """Subsampling included."""
    model = make(group, total_ratio=0.25, num_layers=3).eval()
    pos = torch.randn(40, 2, generator=torch.Generator().manual_seed(1)).double()
    x = torch.rand(5, 40, 1).double()
    model.calibrate(pos)
    generator = torch.Generator().manual_seed(2)
    lifted = model.net.lift.train()(pos, None, generator)
    out = model.net(x, lifted=lifted)
    moved = model.net(x, lifted=transport(group, lifted))
    assert (out - moved).abs().max() < 1e-10 * out.abs().max()
    half = lifted.element.clone()
    half[::2] = transport(group, lifted).element[::2]
    assert (out - model.net(x, lifted=lifted._replace(element=half))).abs().max() > 1e-6


def test_saved_with_the_network():
    batch = ImageToPoints().batch(images())
    model = make(SE2()).train()
    give(model, batch)  # the first batch in training sets it
    assert model.grid.is_set
    assert str(model.grid) == "SharedGrid(76 points)"
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = make(SE2(), seed=7)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(give(other.eval(), batch), give(model.eval(), batch))
    moved = copy.deepcopy(model).float().double()
    torch.testing.assert_close(
        give(moved, batch), give(model, batch), rtol=1e-4, atol=1e-4
    )


def test_lifts_follow_from_the_seed():
    batch = ImageToPoints().batch(images())
    states = []
    for seed in (0, 0, 1):
        model = make(SE2(), seed=seed)
        torch.manual_seed(seed + torch.randint(9, (1,)).item())
        model.calibrate(batch.pos, batch.batch)
        state = model.grid.get_extra_state()
        assert state.pop("settings").startswith("SE2(alpha=0.2), num_lifts 2, ratio")
        states.append(state)
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value)
    assert not torch.equal(states[2]["lifted.element"], states[0]["lifted.element"])


def test_lifts_are_drawn_anew():
    """In training, every so many steps; so a resumed run has the same ones."""
    batch = ImageToPoints().batch(images())
    model = make(SE2(), redraw=2, num_neighbors=None, augment=False, norm=None)
    model.calibrate(batch.pos, batch.batch)
    first = give(model.eval(), batch)
    outs = []
    for step in range(6):
        if step == 3:
            saved = copy.deepcopy(model.state_dict())
        outs.append(give(model.train(), batch))
    for one, two in ((0, 1), (2, 3), (4, 5)):
        assert torch.equal(outs[one], outs[two])
    for one, two in ((1, 2), (3, 4), (1, 5)):
        assert not torch.equal(outs[one], outs[two])
    assert torch.equal(outs[0], first)
    assert torch.equal(give(model.eval(), batch), first)
    resumed = make(SE2(), redraw=2, num_neighbors=None, augment=False, norm=None)
    resumed.load_state_dict(saved)
    for out in outs[3:]:
        assert torch.equal(give(resumed.train(), batch), out)
    for group, settings in ((SE2(), {"redraw": None}), (T(2), {"total_ratio": 1.0})):
        settings = {"redraw": 1} | settings
        fixed = make(group, num_neighbors=None, augment=False, norm=None, **settings)
        outs = [give(fixed.train(), batch) for _ in range(3)]
        assert torch.equal(outs[0], outs[1]) and torch.equal(outs[1], outs[2])


@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_samples_turn_points_where_nothing_is_drawn(ratio):
    batch = ImageToPoints().batch(images())
    model = make(total_ratio=ratio).eval()
    model.calibrate(batch.pos, batch.batch)
    places = [model.grid.found(s, model._prepare)[0].element for s in range(2)]
    assert torch.equal(*places) == (ratio < 1)


def test_drawn_neighbours():
    """As many as asked for in training, other ones each time; all in evaluation."""
    batch = ImageToPoints().batch(images())
    model = make(num_neighbors=3, augment=False)
    model.calibrate(batch.pos, batch.batch)
    _, found = model.grid.found(0, model._prepare)
    degrees = [torch.bincount(now.graph.edge_index[1]) for now in found]
    for now, degree in zip(model.net.train().draw(found), degrees, strict=True):
        drawn = torch.bincount(now.graph.edge_index[1], minlength=len(degree))
        assert torch.equal(drawn, degree.clamp(max=3))
        assert degree.max() > 3
    first, second = (give(model.train(), batch) for _ in range(2))
    assert not torch.equal(first, second)
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    first, second = (give(model, batch, generator=g) for g in generators)
    torch.testing.assert_close(first, second)
    model.eval()
    assert torch.equal(give(model, batch), give(model, batch))
    assert model.net.draw(found)[0].graph is found[0].graph


def test_evaluation_draws_alike():
    batch = ImageToPoints().batch(images())
    model = make(eval_num_neighbors=3).eval()
    model.calibrate(batch.pos, batch.batch)
    out = give(model, batch)
    assert torch.equal(give(model, batch), out)
    model.grid.clear()
    torch.testing.assert_close(give(model, batch), out)


@pytest.mark.parametrize("group", [SE2(), T(2), SO2()], ids=str)
def test_mean_over_samples(group):
    batch = ImageToPoints().batch(images())
    model = make(group, augment=False)
    model.calibrate(batch.pos, batch.batch)
    model.eval()
    out = give(model, batch)
    model.num_samples = 3
    several = give(model, batch)
    assert torch.equal(give(model, batch), several)
    singles = []
    for sample in range(3):
        lifted, found = model.grid.found(sample, model._prepare)
        singles.append(model.net(batch.x.view(4, -1, 1), lifted=lifted, graph=found))
    torch.testing.assert_close(torch.stack(singles).mean(0), several)
    assert torch.equal(singles[0], out)
    assert (singles[1] - out).abs().max() > 1e-6


def test_augmentation_turns_images():
    """By quarter turns it is exact, and a rotation of what is there."""
    picture = images(10, 4)
    to_points = ImageToPoints(crop=None)
    batch = to_points.batch(picture)
    quarter = torch.arange(4).double() * torch.pi / 2
    grid = PixelGrid.of(batch.pos[:100])
    x = grid.rotate(batch.x.view(4, 100, 1), quarter)
    wanted = rotate_images(picture, quarter)
    torch.testing.assert_close(to_points.to_image(x, 10, 10), wanted)
    flat = torch.ones(2, 100, 1).double()
    turned = grid.rotate(flat, torch.full((2,), 0.4).double())
    assert ((turned - 1).abs().lt(1e-12) | (turned == 0)).all()
    assert 0.8 < turned.mean() < 1


def test_pixel_grids():
    pos = ImageToPoints().points(28, 28)
    grid = PixelGrid.of(pos)
    assert (grid.height, grid.width) == (28, 28)
    assert torch.equal(
        grid.pixel, ImageToPoints().mask(28, 28).flatten().nonzero()[:, 0]
    )
    assert PixelGrid.of(3 * pos + 1).pixel.equal(grid.pixel)
    for other in (torch.randn(20, 2), torch.zeros(3, 2), torch.randn(5, 3)):
        assert PixelGrid.of(other) is None
    for size in (540, 568, 610, 1000):
        found = PixelGrid.of(ImageToPoints(crop=None).points(size, size))
        assert (found.height, found.width) == (size, size)
    assert PixelGrid.of(pos + 1e4).pixel.equal(grid.pixel)  # which rounds off 1/100
    moved = pos + 0.1 * pos[1].diff().abs() * torch.rand(len(pos), 2)
    assert PixelGrid.of(moved) is None


@pytest.mark.parametrize("group", [SE2(), SE3(), SO2()], ids=str)
def test_shared_points_that_are_no_pixels(group):
    """In training they are turned; in evaluation each example is for itself, and its
    points are in any order, unless the network was calibrated to them."""
    dim = group.space_dim
    pos = torch.randn(12, dim, generator=torch.Generator().manual_seed(0)).double()
    x = torch.rand(3, 12, 1).double()
    batch = torch.arange(3).repeat_interleave(12)
    model = make(group, radius=2.0)
    given = x.flatten(0, 1), pos.repeat(3, 1), batch
    model.train()(*given).sum().backward()
    assert not model.grid.is_set
    model.eval()
    for samples in (1, 3):
        model.num_samples = samples
        out = model(*given)
        single = [model(part, pos) for part in x]
        torch.testing.assert_close(torch.cat(single), out)
        order = torch.randperm(12)
        moved = x[:, order].flatten(0, 1), pos[order].repeat(3, 1), batch
        torch.testing.assert_close(model(*moved), out)
    model.calibrate(*given[1:])
    assert model.grid.is_set
    model.train()(*given).sum().backward()


def test_a_grid_that_only_one_batch_had():
    """Copies of one cloud are no grid."""
    model = make(SE2(), augment=False).train()
    same = ragged((20, 20))
    model(same.x, same.pos[:20].repeat(2, 1), same.batch)
    assert model.grid.is_set
    out = give(model, ragged())
    assert out.isfinite().all() and not model.grid.is_set
    model(same.x, same.pos[:20].repeat(2, 1), same.batch)
    model.load_state_dict(model.state_dict())  # a grid that was loaded is meant
    with pytest.raises(ValueError, match="these are others"):
        give(model, ragged())


def test_a_saved_grid_of_other_settings():
    batch = ImageToPoints().batch(images())
    model = make(SE2())
    model.calibrate(batch.pos, batch.batch)
    state = model.state_dict()
    for other in (dict(num_lifts=1), dict(total_ratio=0.4), dict(group=SE2(alpha=0.3))):
        with pytest.raises(ValueError, match=r"the saved grid is of SE2.*num_lifts 2"):
            make(**{"group": SE2()} | other).load_state_dict(state)
    with pytest.raises(ValueError, match="the file is damaged"):
        make(SE2()).load_state_dict(state | {"grid._extra_state": [1]})


def ragged(sizes=(20, 33, 12), dim=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    return Batch.from_data_list(
        [
            Data(
                x=torch.rand(n, 1, generator=random).double(),
                pos=torch.randn(n, dim, generator=random).double(),
            )
            for n in sizes
        ]
    )


@pytest.mark.parametrize("group", [SE2(), T(2), SE3(), T(3)], ids=str)
def test_points_of_any_kind(group):
    """Superpixels and clouds: examples with points of their own, and no features."""
    batch = ragged(dim=group.space_dim)
    model = make(group).train()
    model(None, batch.pos, batch.batch).sum().backward()
    assert not model.grid.is_set
    model.eval()
    model.num_samples = 2
    out = give(model, batch)
    assert out.shape == (3, 3)
    for number, data in enumerate(batch.to_data_list()):
        torch.testing.assert_close(model(data.x, data.pos)[0], out[number])
    model.calibrate(batch.pos, batch.batch)
    assert not model.grid.is_set


def test_augmentation_turns_points():
    batch = ragged()
    model = make(SO2(), radius=2.0, num_neighbors=None, norm=None)
    out = give(model.eval(), batch)
    torch.testing.assert_close(give(model.train(), batch), out)  # invariant
    model = make(T(2), radius=2.0, num_neighbors=None, norm=None)
    out = give(model.eval(), batch)
    assert (give(model.train(), batch) - out).abs().max() > 1e-6
    model.augment = False
    torch.testing.assert_close(give(model, batch), out)


def test_an_output_for_each_point():
    batch = ImageToPoints().batch(images())
    model = make(total_ratio=1, pool=None).eval()
    model.calibrate(batch.pos, batch.batch)
    out = give(model, batch)
    assert out.shape == (len(batch.pos), 3)
    model.grid.clear()
    torch.testing.assert_close(give(model, batch), out)


def test_what_does_not_fit():
    batch = ImageToPoints().batch(images())
    colour = ImageToPoints().batch(images(channels=4))
    larger = ImageToPoints().batch(images(11))
    model = make()
    model.calibrate(batch.pos, batch.batch)
    with pytest.raises(ValueError, match=r"'x' has 4 channels.*'in_channels=1'"):
        give(model, colour)
    with pytest.raises(ValueError, match="trained on 76 points that all"):
        give(model, larger)
    with pytest.raises(ValueError, match="these are others"):
        model(batch.x, batch.pos * 1.1, batch.batch)
    with pytest.raises(ValueError, match=r"'x' has rows \(5,\) for 304 points"):
        model(batch.x[:5], batch.pos, batch.batch)
    with pytest.raises(ValueError, match=r"'x' has rows \(4, 76\) for 304 points"):
        model(batch.x.view(4, 76, 1), batch.pos, batch.batch)
    with pytest.raises(TypeError, match="'x' must be a floating-point tensor"):
        model(batch.x.long(), batch.pos, batch.batch)
    with pytest.raises(ValueError, match=r"'batch_size' must be at least 4.*got 3"):
        give(model, batch, batch_size=3)
    few = ragged((20, 3))
    with pytest.raises(ValueError, match=r"example 1 has 3 points.*total_ratio=0\.3"):
        give(make(), few)
    gap = torch.where(few.batch == 1, 2, 0)
    with pytest.raises(ValueError, match="example 1 has 0 points"):
        make()(few.x, few.pos, gap)
    with pytest.raises(ValueError, match="acts on 1 dimension"):
        ImageLieResNet(T(1))
    with pytest.raises(ValueError, match="total_ratio"):
        ImageLieResNet(T(2), total_ratio=0.0)
    with pytest.raises(ValueError, match="num_samples"):
        ImageLieResNet(T(2), num_samples=0)
    model = make(T(4))
    with pytest.raises(ValueError, match="4 coordinates"):
        give(model, ragged(dim=4))
