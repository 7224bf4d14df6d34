import gzip
import math
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import Center

from lieconv_pyg.datasets import RotMNIST, rotmnist
from lieconv_pyg.images import ImageToPoints, image_points, rotate_images
from tests.datasets.test_image_files import amat, idx
from tests.qm9_files import data_folder

NAMES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
OFFICIAL = [
    "mnist_all_rotation_normalized_float_train_valid.amat",
    "mnist_all_rotation_normalized_float_test.amat",
]


def digits(num=62, seed=0):
    """Made-up digits: noise."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, 28, 28)), rng.integers(0, 10, num)


def mnist(folder, images=None, labels=None, sep="-", gz=False, first=50):
    """The four files of MNIST, of which the first two have so many digits."""
    made = digits()
    images = made[0] if images is None else images
    labels = made[1] if labels is None else labels
    folder.mkdir(parents=True, exist_ok=True)
    arrays = images[:first], labels[:first], images[first:], labels[first:]
    for name, array in zip(NAMES, arrays, strict=True):
        path = folder / f"{name}{sep}idx{array.ndim}-ubyte{'.gz' * gz}"
        content = idx(array)
        path.write_bytes(gzip.compress(content) if gz else content)
    return folder


def official(folder, sizes=(6, 9)):
    folder.mkdir(parents=True, exist_ok=True)
    made = [digits(size, seed) for seed, size in enumerate(sizes)]
    for name, (images, labels) in zip(OFFICIAL, made, strict=True):
        (folder / name).write_text(amat(images / 255, labels))
    return made


def files(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    """The made up official files are shorter than those."""
    monkeypatch.setattr(rotmnist, "_ROWS", {True: 6, False: 9})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rotmnist")
    mnist(folder / "raw")
    return folder


def test_items(root):
    data = RotMNIST(root)
    assert len(data) == 12 and len(RotMNIST(root, train=False)) == 50
    item = data[3]
    assert item.x.shape == (648, 1) and item.x.dtype == torch.float32
    assert item.pos.equal(ImageToPoints().points(28, 28))
    assert item.y.shape == (1,) and item.y.dtype == torch.long
    assert item.angle.shape == (1,) and item.angle.dtype == torch.float32
    assert data.source == "mnist" and data.image_size == (28, 28)
    assert data.num_classes == 10 and data.num_features == 1
    assert repr(data) == "RotMNIST(12)" and not data.raw_file_names[0].startswith("/")
    assert data.to_points.mean == 0.130 and data.to_points.std == 0.297
    assert [str(p.parent) for p in root.rglob("*.pt")] == [data.processed_dir] * 2


def test_digits_are_those_of_mnist_rotated(root):
    """Each once, in training or in testing, turned by its angle."""
    plain = ImageToPoints()
    images, labels = (torch.from_numpy(array) for array in digits())
    upright = ImageToPoints().mask(28, 28) * images / 255
    found, angles = [], []
    for train in (True, False):
        data = RotMNIST(root, train, rotated=False, to_points=plain)
        turned = RotMNIST(root, train, to_points=plain)
        assert not data.angle.any() and turned.y.equal(data.y)
        both = data.images(), turned.images()
        for item, image, after in zip(turned, *both, strict=True):
            (index,) = (upright - image).abs().amax((1, 2)).lt(1e-6).nonzero()
            found.append(int(index))
            assert item.y == labels[index]
            angles.append(float(item.angle))
            expected = rotate_images(images[index, None] / 255, item.angle)
            expected = expected[0] * plain.mask(28, 28)
            torch.testing.assert_close(after, expected, rtol=0, atol=1e-4)
    assert sorted(found) == list(range(62)) and found != sorted(found)
    assert 0 <= min(angles) < 0.6 and 5.6 < max(angles) < 2 * math.pi
    assert len(set(angles)) == 62


def test_batches(root):
    data = RotMNIST(root)
    batch = next(iter(DataLoader(data, batch_size=4)))
    assert batch.x.shape == (4 * 648, 1) and batch.pos.shape == (4 * 648, 2)
    assert batch.y.equal(data.y[:4]) and batch.num_graphs == 4
    assert batch[2].x.equal(data[2].x) and batch[2].pos.equal(data[2].pos)
    images, y = data.images()[:4], data.y[:4]
    plain = ImageToPoints()  # the values are already normalised
    same = plain.batch(images, y)
    for key in ("x", "pos", "y", "batch", "ptr"):
        assert batch[key].equal(same[key]), key


def test_parts(root):
    data = RotMNIST(root)
    chosen = [1, 5, 7]
    mask = torch.zeros(12, dtype=torch.bool)
    mask[chosen] = True
    indices = [chosen, mask, torch.tensor(chosen), mask.numpy()]
    for part in (*(data[index] for index in indices), data[1:8][[0, 4, 6]]):
        assert len(part) == 3 and part.y.equal(data.y[chosen])
        assert part.images().equal(data.images()[chosen])
        for other in (part.copy(), data.copy(chosen)):
            assert len(other) == 3 and other[1].x.equal(data[5].x)
            assert other[2].angle.equal(data[7].angle)
            assert other[2].pos.equal(data.pos)
            assert other.images().equal(part.images())
    copied = data.copy()
    copied[0].x.zero_()
    assert data[0].x.any() and len(data.copy([4])) == 1
    one = data.copy([4])[0]
    assert one.pos.shape == (648, 2) and one.x.equal(data[4].x)
    shuffled, order = data.shuffle(return_perm=True)
    assert shuffled.images().equal(data.images()[order])
    assert {float(item.angle) for item in data} == {*data.angle.tolist()}


def test_the_points_are_stored_once_and_given_as_copies(root):
    data = RotMNIST(root)
    assert data._data.pos.shape == data.pos.shape == (648, 2)
    for _ in range(2):  # also from PyG's cache
        item = data[0]
        item.pos += 1
        assert data[0].pos.equal(data.pos) and data[1].pos.equal(data.pos)
    centred = RotMNIST(root, transform=Center())
    assert centred[0].pos.mean(0).abs().max() < 1e-5
    assert data.pos.equal(ImageToPoints().points(28, 28))


def test_points_of_other_kinds(root):
    everything = ImageToPoints(crop=None, spacing=1.0)
    data = RotMNIST(root, to_points=everything)
    assert data[0].pos.equal(image_points(28, 28, 1.0)) and data[0].x.min() >= 0
    assert data.images().shape == (12, 1, 28, 28)
    batch = Batch.from_data_list(list(data[:2]))
    assert batch.x.equal(everything.batch(data.images()[:2]).x)


def test_seeds(root):
    state = torch.get_rng_state()
    first, other = RotMNIST(root), RotMNIST(root, seed=1)
    assert not first.angle.equal(other.angle) and not first.y.equal(other.y)
    again = RotMNIST(root, force_reload=True)
    assert again._data.x.equal(first._data.x) and again.angle.equal(first.angle)
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("sep", ["-", "."])
@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("folder", ["raw", "MNIST/raw"])
def test_names_and_places(tmp_path, root, sep, gz, folder):
    mnist(tmp_path / folder, sep=sep, gz=gz)
    data = RotMNIST(str(tmp_path))
    assert data.images().equal(RotMNIST(root).images())
    assert all(p.startswith(str(tmp_path)) for p in data.raw_paths)


def test_official_files(tmp_path):
    made = official(tmp_path / "raw")
    mnist(tmp_path / "raw")  # which is not looked at then
    for train, (images, labels) in zip((True, False), made, strict=True):
        data = RotMNIST(tmp_path, train, to_points=ImageToPoints(crop=None))
        assert data.source == "official" and "angle" not in data[0]
        assert data.y.tolist() == labels.tolist()
        expected = torch.from_numpy(images).float()[:, None] / 255
        torch.testing.assert_close(data.images(), expected, rtol=0, atol=1e-6)
        assert data.copy([1, 2])[1].y == labels[2]
    with pytest.raises(ValueError, match="rotated=False needs the files of MNIST"):
        RotMNIST(tmp_path, rotated=False)


def test_official_files_that_are_cut_off(tmp_path):
    official(tmp_path / "raw", (5, 9))
    with pytest.raises(ValueError, match=r"amat is cut off: it has 5 of 6 rows"):
        RotMNIST(tmp_path)
    assert len(RotMNIST(tmp_path, train=False)) == 9
    assert len(list((tmp_path / "processed").iterdir())) == 1


def test_written_once(tmp_path):
    mnist(tmp_path / "raw")
    first = RotMNIST(tmp_path)
    path = tmp_path / "processed" / first.processed_file_names
    assert first.processed_paths == [str(path)]
    time = path.stat().st_mtime_ns
    RotMNIST(tmp_path)
    assert path.stat().st_mtime_ns == time
    RotMNIST(tmp_path, force_reload=True)
    assert path.stat().st_mtime_ns > time
    for other in (
        dict(train=False),
        dict(seed=1),
        dict(rotated=False),
        dict(to_points=ImageToPoints()),
    ):
        RotMNIST(tmp_path, **other)
    mnist(tmp_path / "raw", *digits(100))  # other raw files
    assert len(RotMNIST(tmp_path)) == 19
    assert len(list(path.parent.iterdir())) == 6  # and nothing else


def test_failures_leave_nothing(tmp_path, monkeypatch):
    mnist(tmp_path / "raw", labels=np.full(62, 3))
    path = tmp_path / "raw" / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    before = files(tmp_path)
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte is cut off"):
        RotMNIST(tmp_path)
    assert files(tmp_path) == before
    path.write_bytes(whole)

    def interrupted(content, part):
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            RotMNIST(tmp_path)
    assert files(tmp_path) == before
    assert len(RotMNIST(tmp_path)) == 12


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_damaged_processed_file(tmp_path, content):
    mnist(tmp_path / "raw")
    path = tmp_path / "processed" / RotMNIST(tmp_path).processed_file_names
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(ValueError, match=rf"{path.name} is damaged: remove it, or set"):
        RotMNIST(tmp_path)
    assert len(RotMNIST(tmp_path, force_reload=True)) == 12
    assert len(RotMNIST(tmp_path)) == 12


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dict(labels=np.full(62, 10)), "train-labels.* has the label 10, not"),
        (dict(labels=np.ones(61)), r"12 images, and .*t10k-labels.* \(11,\)"),
        (dict(images=np.ones((62, 20, 20))), r"\(N, 28, 28\), got \(50, 20, 20\)"),
        (dict(images=np.ones((5, 28, 28)), labels=np.ones(5), first=3), "has 5 digits"),
        (dict(images=np.ones((0, 28, 28)), labels=np.ones(0)), "has 0 digits here"),
    ],
)
def test_files_that_do_not_fit(tmp_path, change, match):
    mnist(tmp_path / "raw", **change)
    with pytest.raises(ValueError, match=match):
        RotMNIST(tmp_path)
    assert not (tmp_path / "processed").exists()


def test_files_in_each_others_place(tmp_path):
    raw = mnist(tmp_path / "raw")
    (raw / "train-images-idx3-ubyte").write_bytes(
        (raw / "train-labels-idx1-ubyte").read_bytes()
    )
    with pytest.raises(ValueError, match=r"must have images .* got \(50,\)"):
        RotMNIST(tmp_path)


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{OFFICIAL[0]} .*t10k-labels.*gz"):
        RotMNIST(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    raw = mnist(tmp_path / "raw")
    (raw / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(
        FileNotFoundError, match="only some of the files, train-labels-idx1-ubyte are"
    ):
        RotMNIST(tmp_path)
    official(raw)
    (raw / OFFICIAL[1]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"only some .* {OFFICIAL[1]}"):
        RotMNIST(tmp_path)


def test_download(tmp_path, monkeypatch):
    made = official(tmp_path / "elsewhere")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in OFFICIAL:
            archive.write(tmp_path / "elsewhere" / name, name)
    monkeypatch.setattr(RotMNIST, "url", (tmp_path / "a.zip").as_uri())
    data = RotMNIST(tmp_path / "root", train=False, download=True)
    assert data.y.tolist() == made[1][1].tolist()
    assert files(tmp_path / "root" / "raw") == sorted(OFFICIAL)
    (tmp_path / "root" / "raw" / OFFICIAL[0]).unlink()
    assert len(RotMNIST(tmp_path / "root", download=True)) == 6
    with pytest.raises(FileNotFoundError, match="the former, which are rotated"):
        RotMNIST(tmp_path / "upright", rotated=False, download=True)


def test_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "text.zip").write_text("not a zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "nothing else")
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.writestr(OFFICIAL[0], "1 2 3\n")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(OFFICIAL[0], " 0.25" * 10_000)
    bad = bytearray((tmp_path / "bad.zip").read_bytes())
    bad[100:120] = bytes(20)
    (tmp_path / "bad.zip").write_bytes(bad)
    for name in ("none.zip", "text.zip", "other.zip", "half.zip", "bad.zip"):
        monkeypatch.setattr(RotMNIST, "url", (tmp_path / name).as_uri())
        with pytest.raises(FileNotFoundError, match=rf"fetched from .*{name}.*put the"):
            RotMNIST(tmp_path / "root", download=True)
        assert not (tmp_path / "root").exists()

    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(FileNotFoundError, match="no network"):
        RotMNIST(tmp_path / "root", download=True)
    mnist(tmp_path / "raw")
    assert len(RotMNIST(tmp_path, download=True)) == 12  # nothing to fetch


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        (dict(train="test"), "'train' must be True or False, got 'test'"),
        (dict(rotated=1), "'rotated' must be True or False"),
        (dict(seed=0.5), "'seed' must be an integer"),
        (dict(seed=True), "'seed' must be an integer"),
        (dict(to_points=lambda x: x), "'to_points' must be an ImageToPoints, got func"),
    ],
)
def test_wrong_arguments(root, kwargs, match):
    with pytest.raises(TypeError, match=match):
        RotMNIST(root, **kwargs)


def test_real_digits(tmp_path):
    folder = data_folder() / "mnist" / "raw"
    if not folder.is_dir():
        pytest.skip("no real data: LIECONV_DATA has no mnist/raw")
    (tmp_path / "raw").symlink_to(folder)
    train, test = RotMNIST(tmp_path), RotMNIST(tmp_path, train=False)
    assert len(train) == 12_000 and len(test) == 50_000
    assert train.y.bincount().min() > 1000 and test.y.bincount().min() > 4000
    values = train.images() * 0.297 + 0.130 * train.to_points.mask(28, 28)
    assert values.mean().item() == pytest.approx(0.130, abs=0.005)  # as published
    assert values.std().item() == pytest.approx(0.297, abs=0.01)
    turns = torch.histc(test.angle, 8, 0, 2 * math.pi) / 50_000
    assert (turns - 1 / 8).abs().max() < 0.01
