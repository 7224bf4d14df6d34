import math
import pickle

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Compose

from lieconv_pyg.groups import SO2
from lieconv_pyg.images import ImageToPoints, image_points, rotate_images

QUARTER = math.pi / 2
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def tolerance(dtype):
    return 2e-5 if dtype == torch.float32 else 1e-13


def random_images(*shape, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def bright(height, width, row, column, dtype=torch.float64):
    image = torch.zeros(1, 1, height, width, dtype=dtype)
    image[0, 0, row, column] = 1
    return image


def angle(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def test_points_as_published():
    points = image_points(28, 28)
    line = torch.linspace(-14, 14, 28)
    torch.testing.assert_close(
        points.view(28, 28, 2),
        torch.stack(torch.meshgrid(line, line, indexing="ij"), 2),
    )
    # first the coordinate along the rows' index, then along the columns'
    assert points[3, 0] == points[0, 0] and points[3, 1] > points[0, 1]
    assert points.equal(-points.flip(0))  # the middle is 0, to the last bit
    assert points.dtype == torch.float32
    assert image_points(2, 2, dtype=torch.float64).dtype == torch.float64


def test_points_with_spacing_and_of_other_shapes():
    points = image_points(3, 4, spacing=2.0).view(3, 4, 2)
    assert points[:, 0, 0].tolist() == [-2, 0, 2]
    assert points[0, :, 1].tolist() == [-3, -1, 1, 3]
    assert image_points(1, 1).tolist() == [[0, 0]]
    assert image_points(1, 3).tolist() == [[0, -1.5], [0, 0], [0, 1.5]]
    tall = image_points(11, 6).view(11, 6, 2)  # pixels are square
    for axis in (0, 1):
        steps = tall[..., axis].diff(dim=axis)
        torch.testing.assert_close(steps, torch.full_like(steps, 1.1))


@BOTH
@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns(turns, dtype):
    for size in (5, 28):
        images = random_images(3, 2, size, size, dtype=dtype)
        turned = rotate_images(images, torch.full((3,), turns * QUARTER, dtype=dtype))
        expected = torch.rot90(images, turns, (-2, -1))
        torch.testing.assert_close(turned, expected, rtol=0, atol=tolerance(dtype))


@BOTH
@pytest.mark.parametrize("size", [(9, 9), (10, 10), (9, 5)])
def test_moves_as_the_group_acts(size, dtype):
    """What is at p moves to R p: quarter turns to a pixel, exactly."""
    group, points = SO2(), image_points(*size, dtype=dtype)
    row, column = size[0] // 2 + 1, size[1] - 2
    image = bright(*size, row, column, dtype=dtype)
    place = points[row * size[1] + column]
    for turns in (1, 2, 3, -1):
        by = angle(turns * QUARTER, dtype=dtype)
        to = group.act(group.exp(by), place)
        index = (points - to).norm(dim=1).argmin()
        assert (points[index] - to).norm() < tolerance(dtype)
        turned = rotate_images(image, by).flatten()
        expected = torch.zeros_like(turned).index_fill(0, index, 1)
        torch.testing.assert_close(turned, expected, rtol=0, atol=tolerance(dtype))


@pytest.mark.parametrize("size", [(31, 31), (31, 21), (22, 31)])
def test_any_angle_moves_the_middle_of_a_spot(size):
    """The centroid of a smooth spot moves as a point does, and its width remains."""
    group, points = SO2(), image_points(*size, dtype=torch.float64)
    place = torch.tensor([3.0, -2.0], dtype=torch.float64)
    spot = torch.exp(-(points - place).square().sum(1) / 8).view(1, 1, *size)
    for value in (0.3, 1.1, 2.5, -0.7):
        turned = rotate_images(spot, angle(value)).flatten()
        mean = (turned[:, None] * points).sum(0) / turned.sum()
        to = group.act(group.exp(angle(value)), place)
        assert (mean - to).norm() < 5e-3
        spread = (turned[:, None] * (points - mean).square()).sum(0) / turned.sum()
        torch.testing.assert_close(spread[0], spread[1], rtol=0.02, atol=0)


def test_function_on_the_plane():
    """A linear function is interpolated exactly: f(R^-1 x) where nothing is cut off."""
    group, points = SO2(), image_points(12, 17, spacing=0.5, dtype=torch.float64)
    slope = torch.tensor([0.7, -1.3], dtype=torch.float64)
    element = group.exp(angle(0.4))
    back = group.act(group.inverse(element), points)
    turned = rotate_images((points @ slope).view(1, 1, 12, 17), angle(0.4)).flatten()
    inside = (back.abs() <= points.amax(0)).all(1)
    assert 100 < inside.sum() < 204
    torch.testing.assert_close(turned[inside], (back @ slope)[inside])
    far = (back.abs() >= points.amax(0) + 0.5).any(1)
    assert far.any() and not turned[far].any()  # zeros from outside


def test_each_image_has_its_angle():
    images = random_images(4, 1, 8, 8)
    angles = angle(0.0, 1.0, 2.0, -3.0, dtype=torch.float32)
    together = rotate_images(images, angles)
    torch.testing.assert_close(together[0], images[0])
    for i in range(4):
        one = rotate_images(images[i : i + 1], angles[i : i + 1].double())
        torch.testing.assert_close(together[i : i + 1], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (1, 2)])
def test_single_rows_and_columns(size):
    image = random_images(1, 1, *size).double()
    half = rotate_images(image, angle(math.pi))
    torch.testing.assert_close(half, image.flip(-1, -2), rtol=0, atol=1e-12)
    if all(n % 2 for n in size):  # only the pixel in the middle stays inside
        quarter = rotate_images(image, angle(QUARTER))
        middle = bright(*size, size[0] // 2, size[1] // 2) * image
        torch.testing.assert_close(quarter, middle, rtol=0, atol=1e-12)


def test_gradient():
    images = random_images(2, 2, 4, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: rotate_images(x, angle(0.3, 2.0)), (images,)
    )


def test_reduced_precision_around_it_changes_nothing():
    images, by = random_images(2, 1, 28, 28), angle(0.3, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rotate_images(images, by)
    assert inside.equal(rotate_images(images, by))


@pytest.mark.parametrize(
    ("images", "by", "error", "match"),
    [
        (torch.rand(2, 3, 3), angle(0, 0), ValueError, r"\(B, C, H, W\), got \(2, 3"),
        (torch.rand(2, 1, 3, 3), angle(0), ValueError, r"shape \(2,\).*got \(1,\)"),
        (torch.rand(1, 1, 3, 3), angle(0)[0], ValueError, r"got \(\)"),
        (torch.rand(1, 1, 0, 3), angle(0), ValueError, r"no pixels in shape \(1, 1, 0"),
        (torch.ones(1, 1, 3, 3).int(), angle(0), TypeError, "float64, got torch.int32"),
        (torch.ones(1, 1, 3, 3).half(), angle(0), TypeError, "got torch.float16"),
        (torch.ones(1, 1, 3, 3), torch.ones(1).long(), TypeError, "got torch.int64"),
        (torch.ones(1, 1, 3, 3), 0.5, TypeError, "'angle' must be .* got float"),
        ([[1.0]], angle(0), TypeError, "expected a tensor .* got list"),
    ],
)
def test_wrong_arguments_of_rotations(images, by, error, match):
    with pytest.raises(error, match=match):
        rotate_images(images, by)


@pytest.mark.parametrize(
    ("args", "error", "match"),
    [
        ((0, 3), ValueError, "'height' must be at least 1"),
        ((3, 2.0), TypeError, "'width' must be an integer"),
        ((3, 3, 0.0), ValueError, "'spacing' must be positive"),
        ((3, 3, math.inf), ValueError, "'spacing' must be finite"),
        ((3, 3, "1"), TypeError, "'spacing' must be a number"),
    ],
)
def test_wrong_arguments_of_points(args, error, match):
    with pytest.raises(error, match=match):
        image_points(*args)


def test_crop_as_published():
    data = ImageToPoints()(torch.rand(1, 28, 28))
    assert data.x.shape == (648, 1) and data.pos.shape == (648, 2)
    assert data.pos.norm(dim=1).max() < 15
    left_out = image_points(28, 28).norm(dim=1) >= 15
    assert left_out.sum() == 28**2 - 648
    mask = ImageToPoints().mask(28, 28)
    for spacing in (0.1, 1.0):  # the same pixels
        assert ImageToPoints(spacing=spacing).mask(28, 28).equal(mask)
    mask = ImageToPoints().mask(9, 9)
    assert mask.equal(mask.rot90()) and mask.equal(mask.mT) and not mask.all()
    assert ImageToPoints().mask(1, 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_those_of_the_pixels(channels):
    image = random_images(channels, 6, 4)
    data = ImageToPoints(crop=None, spacing=1.0)(image)
    for x, (row, column) in zip(data.x, data.pos, strict=True):
        assert x.equal(image[:, int(row + 2.5), int(column + 1.5)])


def test_kinds_of_images():
    to_points = ImageToPoints(crop=None)
    whole = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8)
    data = to_points(whole)
    assert data.x.dtype == data.pos.dtype == torch.float32
    torch.testing.assert_close(data.x, torch.tensor([[0.0], [0.2], [0.4], [1.0]]))
    assert to_points(whole.unsqueeze(0)).x.equal(data.x)
    double = to_points(torch.rand(2, 2).double())
    assert double.x.dtype == double.pos.dtype == torch.float64
    assert to_points(torch.rand(2, 2).half()).x.dtype == torch.float32


def test_data():
    before = Data(x=torch.rand(1, 5, 5), y=torch.tensor([3]), name="a")
    data = Compose([ImageToPoints(crop=None)])(before)
    assert data.y.equal(before.y) and data.name == "a"
    assert data.x.shape == (25, 1) and data.num_nodes == 25
    assert before.x.shape == (1, 5, 5) and "pos" not in before  # left as it was


def test_normalisation():
    image = random_images(3, 4, 4)
    plain = ImageToPoints(None)(image).x
    same = ImageToPoints(None, mean=0.5, std=0.25)(image).x
    torch.testing.assert_close(same, (plain - 0.5) / 0.25)
    each = ImageToPoints(None, mean=[0.1, 0.2, 0.3], std=torch.tensor([1.0, 2.0, 4.0]))
    expected = (plain - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor([1.0, 2.0, 4.0])
    torch.testing.assert_close(each(image).x, expected)
    assert each.batch(image[None]).x.equal(each(image).x)


def test_gradient_reaches_the_image():
    image = random_images(1, 5, 5).requires_grad_()
    for x in (image * 1, (image * 1).squeeze(0), Data(x=image * 1)):
        (gradient,) = torch.autograd.grad(ImageToPoints()(x).x.sum(), image)
        assert gradient[0].bool().equal(ImageToPoints().mask(5, 5))


@pytest.mark.parametrize("y", [None, torch.arange(4), torch.rand(4, 2)])
def test_batch_is_that_of_single_ones(y):
    images = random_images(4, 2, 7, 7)
    to_points = ImageToPoints(mean=0.1)
    items = [to_points(image) for image in images]
    for i, item in enumerate(items):
        if y is not None:
            item.y = y[i : i + 1]
    expected, batch = Batch.from_data_list(items), to_points.batch(images, y)
    assert type(batch) is type(expected) and set(batch.keys()) == set(expected.keys())
    for key in expected.keys():  # noqa: SIM118  no mapping
        assert batch[key].equal(expected[key]), key
    assert batch.num_graphs == len(batch) == 4 and batch.num_nodes == len(batch.x)
    for one, item in zip(batch.to_data_list(), items, strict=True):
        assert one.to_dict().keys() == item.to_dict().keys()
        assert all(one[key].equal(item[key]) for key in item.to_dict())
    assert batch.get_example(2).x.equal(items[2].x)
    assert len(batch[1:3]) == 2
    again = Batch.from_data_list(batch.to_data_list())
    assert again.x.equal(batch.x) and again.ptr.equal(batch.ptr)


def test_back_to_images():
    images = random_images(3, 2, 9, 9)
    to_points = ImageToPoints()
    mask = to_points.mask(9, 9)
    back = to_points.to_image(to_points(images[1]).x, 9, 9)
    assert back.equal(images[1] * mask)
    several = to_points.batch(images).x.view(3, -1, 2)
    assert to_points.to_image(several, 9, 9).equal(images * mask)
    everything = ImageToPoints(crop=None)
    wide = images[0, :, :4]
    assert everything.to_image(everything(wide).x, 4, 9).equal(wide)
    for values in (torch.rand(81, 1), torch.rand(int(mask.sum()))):
        with pytest.raises(ValueError, match=r"\(\*, 61, C\) for 9 by 9 pixels, got"):
            to_points.to_image(values, 9, 9)


def test_quarter_turns_permute_the_points():
    """What a network that is equivariant sees of an image that is turned."""
    to_points, group = ImageToPoints(), SO2()
    image = random_images(1, 1, 10, 10).double()
    before = to_points(image[0])
    after = to_points(rotate_images(image, angle(QUARTER))[0])
    moved = group.act(group.exp(angle(QUARTER)), before.pos)
    near = torch.cdist(moved, after.pos)
    assert near.amin(1).max() < 1e-6
    index = near.argmin(1)
    assert index.unique().numel() == len(moved)
    torch.testing.assert_close(after.x[index], before.x)


def test_repr_and_pickle():
    to_points = ImageToPoints(mean=0.130, std=[0.297])
    text = (
        "ImageToPoints(crop=1.0714285714285714, spacing=None, mean=0.13, std=(0.297,))"
    )
    assert repr(to_points) == text == repr(eval(text))
    again = pickle.loads(pickle.dumps(to_points))
    image = torch.rand(1, 8, 8)
    assert again(image).x.equal(to_points(image).x)


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        (torch.rand(4), ValueError, r"\(C, H, W\) or \(H, W\), got \(4,\)"),
        (torch.rand(1, 1, 4, 4), ValueError, r"got \(1, 1, 4, 4\)"),
        (torch.rand(0, 4, 4), ValueError, "no pixels"),
        (torch.rand(4, 0), ValueError, "no pixels"),
        (torch.rand(4, 5), ValueError, "4 by 5 .* not square: pad it .*crop=None"),
        (torch.full((4, 4), math.nan), ValueError, "NaN or infinite"),
        (torch.full((4, 4), math.inf), ValueError, "NaN or infinite"),
        (torch.ones(4, 4).long(), TypeError, "uint8 from 0 to 255, got torch.int64"),
        (torch.ones(4, 4).bool(), TypeError, "got torch.bool"),
        ("image.png", TypeError, "got str"),
        (Data(y=torch.ones(1)), TypeError, "got NoneType"),
        (Batch.from_data_list([Data(x=torch.rand(4, 4))]), TypeError, r"to .*\.batch"),
    ],
)
def test_wrong_images(image, error, match):
    with pytest.raises(error, match=match):
        ImageToPoints()(image)


def test_wrong_batches():
    to_points = ImageToPoints()
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(1, 4, 4\)"):
        to_points.batch(torch.rand(1, 4, 4))
    with pytest.raises(ValueError, match="no pixels"):
        to_points.batch(torch.rand(0, 1, 4, 4))
    for y in (torch.arange(2), torch.tensor(1)):
        with pytest.raises(ValueError, match="a row for each of 3 images"):
            to_points.batch(torch.rand(3, 1, 4, 4), y)
    with pytest.raises(ValueError, match=r"'mean' has 2 values, .* 3 channels"):
        ImageToPoints(mean=(0.1, 0.2))(torch.rand(3, 4, 4))
    with pytest.raises(ValueError, match=r"'std' has 1 values, .* 3 channels"):
        ImageToPoints(std=[0.1]).batch(torch.rand(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        (dict(crop=0.0), ValueError, "'crop' must be positive"),
        (dict(crop=True), TypeError, "'crop' must be a number"),
        (dict(crop=math.nan), ValueError, "'crop' must be finite"),
        (dict(spacing=-1), ValueError, "'spacing' must be positive"),
        (dict(std=0), ValueError, "'std' must be positive"),
        (dict(std=[1.0, -1.0]), ValueError, "'std' must be positive"),
        (dict(mean=math.nan), ValueError, "'mean' must be finite"),
        (dict(mean="0.1"), TypeError, "'mean' must be a number"),
        (dict(mean=[None]), TypeError, "'mean' must be a number"),
    ],
)
def test_wrong_arguments(kwargs, error, match):
    with pytest.raises(error, match=match):
        ImageToPoints(**kwargs)


def test_crop_that_leaves_nothing():
    with pytest.raises(ValueError, match=r"crop=0\.01 leaves none of 4 by 4 pixels"):
        ImageToPoints(crop=0.01)(torch.rand(4, 4))
    assert ImageToPoints(crop=0.01)(torch.rand(5, 5)).pos.tolist() == [[0, 0]]
