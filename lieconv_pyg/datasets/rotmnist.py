"""Rotated MNIST as point sets, and what is common to sets of images of one size."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import os
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from lieconv_pyg.datasets.image_files import read_amat, read_idx
from lieconv_pyg.images import ImageToPoints, rotate_images

_FORMAT = 1
_TOGETHER = 1000  # images that are rotated at once
_SIZES = (12_000, 50_000)  # training and test images of the original files
_OFFICIAL = tuple(
    f"mnist_all_rotation_normalized_float_{part}.amat"
    for part in ("train_valid", "test")
)
_ROWS = {True: 12_000, False: 50_000}  # of the original files, by train
_DOWNLOAD_ERRORS = (OSError, EOFError, HTTPException, zipfile.BadZipFile, zlib.error)
_MNIST = ("train-images-3", "train-labels-1", "t10k-images-3", "t10k-labels-1")


class PointImages(InMemoryDataset):
    r"""Images of one size as point sets, which have their points in common: these are
    stored once, and an item gets its own copy when it is taken.

    An item has :obj:`x` :math:`(n, C)`, :obj:`pos` :math:`(n, 2)`, the class :obj:`y`
    :math:`(1)` and, where it is known, the :obj:`angle` :math:`(1)` in radians by which
    it was rotated.

    Attributes:
        source: Where the images are from.
        image_size: Their height and width.
        to_points: The :class:`~lieconv_pyg.images.ImageToPoints` that made the points.
    """

    num_classes = 10
    source: str
    image_size: tuple[int, int]

    def __init__(
        self,
        root: str | None,
        to_points: ImageToPoints,
        transform: Callable[[Data], Any] | None = None,
    ) -> None:
        self.to_points = to_points
        super().__init__(root, transform)

    def hold(self, x: Tensor, y: Tensor, angle: Tensor | None = None) -> None:
        r"""Makes these the items: values :math:`(N, n, C)`, classes :math:`(N)` and
        angles :math:`(N)`."""
        num, size, _ = x.shape
        rows = torch.arange(num + 1)
        self.data = Data(x=x.flatten(0, 1), y=y)
        self.slices = {"x": size * rows, "y": rows}
        if angle is not None:
            self._data.angle, self.slices["angle"] = angle, rows
        # Not in the slices: it belongs to every item.
        pos = self.to_points.points(*self.image_size, x.dtype)
        self._data.pos = pos.to(x.device)

    def get(self, idx: int) -> Data:
        """The item of this number, before the transform."""
        data = super().get(idx)
        data.pos = self.pos.clone()
        return data

    def copy(self, idx: Any = None) -> PointImages:
        """A data set with these items alone, or all, which shares no memory."""
        chosen = self if idx is None else self.index_select(idx)
        rows = torch.tensor(chosen.indices(), dtype=torch.long)
        dataset = copy.copy(self)
        dataset._indices = None
        dataset.hold(
            self._rows("x")[rows],
            self._rows("y")[rows],
            self._rows("angle")[rows] if "angle" in self._data else None,
        )
        return dataset

    @property
    def pos(self) -> Tensor:
        r"""The points of every item, :math:`(n, 2)`."""
        return self._data.pos

    def images(self) -> Tensor:
        r"""All items as images, :math:`(N, C, H, W)`, with the values that the points
        have before the transform, and 0 where there is none."""
        rows = torch.tensor(self.indices(), dtype=torch.long)
        return self.to_points.to_image(self._rows("x")[rows], *self.image_size)

    def _rows(self, key: str) -> Tensor:
        """An attribute with a row for each item."""
        value = self._data[key]
        return value.view(self.len(), -1, value.size(1)) if key == "x" else value


class RotMNIST(PointImages):
    r"""Handwritten digits that are rotated by random angles, as point sets: 12,000 for
    training and 50,000 for testing, of 648 points each.

    They are from the files of `"An Empirical Evaluation of Deep Architectures on
    Problems with Many Factors of Variation"
    <https://icml.cc/imls/conferences/2007/proceedings/papers/331.pdf>`_ (ICML 2007), on
    which errors are published, if :obj:`root/raw` has them:
    :obj:`mnist_all_rotation_normalized_float_train_valid.amat` and
    :obj:`mnist_all_rotation_normalized_float_test.amat`.

    Else they are made from the four files of MNIST in :obj:`root/raw` or
    :obj:`root/MNIST/raw`, compressed or not: of the 70,000 digits in random order the
    first 12,000 for training and the next 50,000 for testing (of fewer than 62,000
    digits the same share for training and all others for testing), each rotated by an
    angle that is uniform in :math:`[0, 2 \pi)`. Other digits and other interpolation
    than in the original files: errors are similar, not the same.

    What is prepared is kept in :obj:`root/processed`.

    Args:
        root (path): Folder of the files.
        train (bool, optional): Whether to take the training or the test digits.
            (default: :obj:`True`)
        rotated (bool, optional): If set to :obj:`False`, will leave the same digits
            upright, which needs the files of MNIST. (default: :obj:`True`)
        seed (int, optional): Other numbers, another order and other angles, with the
            files of MNIST. (default: :obj:`0`)
        to_points (ImageToPoints, optional): Makes the points. (default: as published,
            :obj:`ImageToPoints(mean=0.130, std=0.297)`)
        download (bool, optional): Whether to fetch the original files where there are
            neither these nor those of MNIST. (default: :obj:`False`)
        transform (callable, optional): Applied to an item when it is taken.
        force_reload (bool, optional): Prepares them anew. (default: :obj:`False`)

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a file is damaged or of something else, or the original files
            are asked for upright digits.
        FileNotFoundError: If a file is missing and is not to be downloaded, or cannot
            be.
    """

    url = "http://www.iro.umontreal.ca/~lisa/icml2007data/mnist_rotation_new.zip"
    image_size = (28, 28)

    def __init__(
        self,
        root: str | os.PathLike,
        train: bool = True,
        rotated: bool = True,
        seed: int = 0,
        to_points: ImageToPoints | None = None,
        download: bool = False,
        transform: Callable[[Data], Any] | None = None,
        force_reload: bool = False,
    ) -> None:
        if to_points is None:
            to_points = ImageToPoints(mean=0.130, std=0.297)
        check_arguments(train, rotated, seed, to_points)
        self.train, self.rotated, self.seed = train, rotated, seed
        folder = Path(root).expanduser()
        url = self.url if download and rotated else None
        self.source, self._files = _find(folder, url)
        if self.source == "official" and not rotated:
            raise ValueError(
                f"the digits in {folder} are rotated: rotated=False needs the files of "
                "MNIST, in another root"
            )
        super().__init__(str(folder), to_points, transform)
        path = Path(self.processed_paths[0])
        if force_reload or not path.is_file():
            self._prepare(path)
        try:
            saved = torch.load(path, weights_only=True)
            self.hold(saved["x"], saved["y"], saved["angle"])
        except Exception as error:  # pickle, zip and torch raise all kinds
            raise ValueError(
                f"{path} is damaged: remove it, or set 'force_reload'"
            ) from error

    @property
    def raw_file_names(self) -> list[str]:
        """The files that were found, relative to :obj:`raw_dir`."""
        return [os.path.relpath(path, self.raw_dir) for path in self._files]

    @property
    def processed_file_names(self) -> str:
        """The file of these arguments, and of raw files of these sizes."""
        part = "train" if self.train else "test"
        settings: list[Any] = [_FORMAT, repr(self.to_points)]
        settings += [(path.name, path.stat().st_size) for path in self._files]
        if self.source == "mnist":
            settings += [self.rotated, self.seed]
        digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
        return f"{self.source}_{part}_{digest}.pt"

    # Not PyG's process(), which would write more files, and those not at once.
    def _prepare(self, path: Path) -> None:
        """Prepares the points and writes them, whole or not at all."""
        if self.source == "official":
            file = self._files[0 if self.train else 1]
            images, y = read_amat(file)
            rows = _ROWS[self.train]
            if len(y) < rows:
                raise ValueError(
                    f"{file} is cut off: it has {len(y):,} of {rows:,} rows"
                )
            angle = None
        else:
            images, y = _read_mnist(self._files)
            index, angle = draw(len(y), _sizes(len(y)), self.train, self.seed)
            images, y = images[index], y[index]
            angle = angle if self.rotated else torch.zeros_like(angle)
        x = point_values(images, angle, self.to_points)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            torch.save({"x": x, "y": y, "angle": angle}, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def check_arguments(train: Any, rotated: Any, seed: Any, to_points: Any) -> None:
    """Checks the arguments that sets of digits have in common."""
    for value, name in ((train, "train"), (rotated, "rotated")):
        if not isinstance(value, bool):
            raise TypeError(f"'{name}' must be True or False, got {value!r}")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"'seed' must be an integer, got {seed!r}")
    if not isinstance(to_points, ImageToPoints):
        raise TypeError(
            f"'to_points' must be an ImageToPoints, got {type(to_points).__name__}"
        )


def draw(
    num: int, sizes: tuple[int, int], train: bool, seed: int
) -> tuple[Tensor, Tensor]:
    r"""Which of :obj:`num` images are for training or testing, at random, and an angle
    for each, uniform in :math:`[0, 2 \pi)`.

    Args:
        num (int): The number of images.
        sizes (tuple): How many are for training, and how many of the others for
            testing.
        train (bool): Which of these to return.
        seed (int): Other numbers, other images and angles.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num, generator=generator)
    angle = (2 * math.pi * torch.rand(num, generator=generator).double()).float()
    own = slice(sizes[0]) if train else slice(sizes[0], sum(sizes))
    return order[own], angle[own]


def point_values(
    images: Tensor, angle: Tensor | None, to_points: ImageToPoints
) -> Tensor:
    r"""Values :math:`(N, n, 1)` of the points of images :math:`(N, H, W)` that are
    rotated by angles :math:`(N)`, if there are any."""
    parts = []
    for start in range(0, len(images), _TOGETHER):
        own = slice(start, start + _TOGETHER)
        part = images[own].unsqueeze(1)
        part = part.float() / 255 if part.dtype == torch.uint8 else part
        if angle is not None and angle.any():
            part = rotate_images(part, angle[own])
        parts.append(to_points.batch(part).x.view(len(part), -1, 1))
    return torch.cat(parts)


def _sizes(num: int) -> tuple[int, int]:
    """How many digits of so many are for training and for testing."""
    train, test = _SIZES
    if num < train + test:
        train = num * train // (train + test)
        test = num - train
    if not train:
        raise ValueError(f"MNIST has {num} digits here, too few to train and test with")
    return train, test


def _find(root: Path, url: str | None) -> tuple[str, list[Path]]:
    """The source and its files; the first folder decides that has any of them."""
    raw = root / "raw"
    official = [raw / name for name in _OFFICIAL]
    places = [("official", official)]
    for folder in (raw, root / "MNIST" / "raw"):
        places.append(("mnist", [_idx_file(folder, name) for name in _MNIST]))
    for source, files in places:
        missing = [path for path in files if not path.is_file()]
        if not missing:
            return source, files
        if len(missing) < len(files) and url is None:
            names = ", ".join(path.name for path in missing)
            raise FileNotFoundError(
                f"RotMNIST: {files[0].parent} has only some of the files, {names} "
                "are missing"
            )
        if len(missing) < len(files):
            break  # and do not mix them with others
    if url is None:
        raise FileNotFoundError(
            f"RotMNIST is not in {root}: put {' and '.join(_OFFICIAL)}, or the four "
            f"files of MNIST ({', '.join(p.name for p in places[1][1])}, .gz or not), "
            f"into {raw}, or set download to fetch the former, which are rotated"
        )
    _download(url, raw)
    return "official", official


def _idx_file(folder: Path, name: str) -> Path:
    """A file of MNIST under the name that it has, else under the usual one."""
    stem, dims = name.rsplit("-", 1)
    names = [f"{stem}{sep}idx{dims}-ubyte{gz}" for gz in ("", ".gz") for sep in "-."]
    paths = [folder / name for name in names]
    return next((path for path in paths if path.is_file()), paths[0])


def _download(url: str, raw: Path, timeout: float = 10.0) -> None:
    """Fetches the original files; leaves nothing behind where it cannot."""
    from torch_geometric.data import download_url, extract_zip

    created = [folder for folder in (raw, raw.parent) if not folder.exists()]
    try:
        # Without this look, a blocked network would be waited for without end.
        with urllib.request.urlopen(url, timeout=timeout):
            pass
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw) as folder:
            extract_zip(download_url(url, folder), folder)
            found = [Path(folder, name) for name in _OFFICIAL]
            for path in found:
                path.stat()  # all of them, before any is put into place
            for path in found:
                path.replace(raw / path.name)
    except _DOWNLOAD_ERRORS as error:
        for path in created:
            with contextlib.suppress(OSError):
                path.rmdir()  # if nothing else came in
        raise FileNotFoundError(
            f"RotMNIST is not in {raw.parent} and cannot be fetched from {url} "
            f"({error}): put the files of MNIST into {raw}"
        ) from error


def _read_mnist(files: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """All images (N, 28, 28) in uint8 and labels (N), training ones first."""
    images, labels = [], []
    for image_file, label_file in (files[:2], files[2:]):
        x, y = read_idx(image_file), read_idx(label_file)
        if x.dim() != 3 or x.shape[1:] != RotMNIST.image_size:
            raise ValueError(
                f"{image_file} must have images of shape (N, 28, 28), got "
                f"{tuple(x.shape)}"
            )
        if y.shape != x.shape[:1]:
            raise ValueError(
                f"{image_file} has {len(x)} images, and {label_file} labels of shape "
                f"{tuple(y.shape)}: there must be one for each"
            )
        if y.numel() and y.max() > 9:
            raise ValueError(f"{label_file} has the label {y.max()}, not from 0 to 9")
        images.append(x)
        labels.append(y.long())
    return torch.cat(images), torch.cat(labels)
