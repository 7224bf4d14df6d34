import gzip
import struct
import time

import numpy as np
import pytest
import torch

from lieconv_pyg.datasets import read_amat, read_idx
from tests.qm9_files import data_folder


def idx(values):
    """A file of bytes as MNIST has them."""
    values = np.asarray(values, dtype=np.uint8)
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return head + values.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4))
GOOD = idx(IMAGES)


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images.idx3-ubyte.gz"])
def test_idx(tmp_path, name):
    content = gzip.compress(GOOD) if name.endswith(".gz") else GOOD
    images = read_idx(write(tmp_path / name, content))
    assert images.dtype == torch.uint8 and images.tolist() == IMAGES.tolist()
    images[0] = 0  # it may be written to
    labels = read_idx(str(write(tmp_path / "labels", idx([3, 0, 9]))))
    assert labels.tolist() == [3, 0, 9]
    assert read_idx(write(tmp_path / "none", idx(np.ones((0, 2))))).shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty or cut off: it has 0 bytes"),
        (GOOD[:3], "is empty or cut off"),
        (GOOD[:9], "ends within its sizes"),
        (GOOD[:-1], r"is cut off: .* shape \(5, 3, 4\), 60 bytes, and has 59"),
        (GOOD + b"0", r"is too long: .* 60 bytes, and has 61"),
        (GOOD[:16], "60 bytes, and has 0"),
        (b"\0\0\x0d\x03" + GOOD[4:], "begins with 00 00 0d 03"),  # of floats
        (b"\0\0\x08\0" + GOOD[4:], "begins with 00 00 08 00"),
        (gzip.compress(GOOD, mtime=0), "no idx file of bytes: it begins with 1f 8b"),
        (b"<!DOCTYPE html>", "no idx file of bytes"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_wrong_idx(tmp_path, content, match, suffix):
    path = write(tmp_path / f"a{suffix}", gzip.compress(content) if suffix else content)
    with pytest.raises(ValueError, match=match) as raised:
        read_idx(path)
    assert str(path) in str(raised.value)


def test_wrong_gzip(tmp_path):
    whole = gzip.compress(np.random.default_rng(0).bytes(5000))
    path = tmp_path / "a.gz"
    with pytest.raises(ValueError, match=r"no whole gzip file .* take \.gz off its"):
        read_idx(write(path, GOOD))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for content in (whole[:-20], whole[: len(whole) // 2], whole[:12], bytes(damaged)):
        with pytest.raises(ValueError, match=r"a\.gz is (cut off|no whole gzip)"):
            read_idx(write(path, content))


def test_no_file(tmp_path):
    for read in (read_idx, read_amat):
        with pytest.raises(FileNotFoundError, match=r"there is no file .*none"):
            read(tmp_path / "none")


def amat(images, labels, form="%.6f"):
    rows = zip(images, labels, strict=True)
    lines = (" ".join(form % v for v in [*image.flat, label]) for image, label in rows)
    return "\n".join(lines) + "\n"


def test_amat(tmp_path):
    images = np.random.default_rng(0).random((4, 28, 28))
    labels = [3, 0, 9, 1]
    for form in ("%.6f", "%.9e", "   %.7e"):
        text = amat(images, labels, form)
        read, y = read_amat(write(tmp_path / "a.amat", text.encode()))
        assert read.dtype == torch.float32 and y.dtype == torch.long
        torch.testing.assert_close(read, torch.from_numpy(images).float())
        assert y.tolist() == labels


def row(last="1", first="0.5", num=784):
    return " ".join([first, *["0.25"] * (num - 1), last]) + "\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        (row(num=783), "has 784 columns, not 784 pixels and a label"),
        (row() + row(num=785), "is no table of 785 columns of numbers"),
        (row() + row()[:400], "is no table of 785 columns of numbers"),
        (row(first="black"), "is no table of .*'black'"),
        (row().replace(" ", ","), "is no table of"),
        (row() + row(first="nan"), "NaN or infinite values, first in row 1"),
        (row(first="inf"), "NaN or infinite values, first in row 0"),
        (row() + row() + row("10"), "the label 10 in row 2"),
        (row("-1"), "the label -1 in row 0"),
        (row("2.5"), "the label 2.5 in row 0"),
        (row("nan"), "NaN or infinite"),
        (row() + "#" + row(), "is no table of"),
        (row() + row("12")[:-2], "is cut off: its last line has no end"),
    ],
)
def test_wrong_amat(tmp_path, text, match):
    path = write(tmp_path / "a.amat", text.encode())
    with pytest.raises(ValueError, match=match) as raised:
        read_amat(path)
    assert str(path) in str(raised.value)


def test_amat_of_bytes(tmp_path):
    with pytest.raises(ValueError, match="is no table of 785 columns"):
        read_amat(write(tmp_path / "a.amat", gzip.compress(row().encode())))


def test_amat_is_read_fast(tmp_path):
    """The 50,000 rows of the original file take seconds."""
    path = write(tmp_path / "a.amat", (row() * 2000).encode())
    start = time.perf_counter()
    assert len(read_amat(path)[1]) == 2000
    assert time.perf_counter() - start < 2


def test_real_files():
    folder = data_folder() / "mnist" / "raw"
    if not folder.is_dir():
        pytest.skip("no real data: LIECONV_DATA has no mnist/raw")
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz")
    assert images.shape == (10000, 28, 28) and labels.shape == (10000,)
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert images.float().mean().item() == pytest.approx(33.79, abs=0.01)
