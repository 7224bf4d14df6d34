"""Images as point sets for Lightning: parts, limits, loaders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_geometric.data import Batch

from lieconv_pyg.datasets import PointImages, RotDigits, RotMNIST, find_name
from lieconv_pyg.images import ImageToPoints
from lieconv_pyg.training.base import SplitDataModule

#: Environment variable with the folder of RotMNIST.
ROOT_VARIABLE = "LIECONV_ROTMNIST_ROOT"
#: Mean and deviation of the values, and training images that are for validation.
_KNOWN: dict[str, tuple[float, float, int]] = {
    "digits": (0.305, 0.376, 200),
    "rotmnist": (0.130, 0.297, 2000),
}


class ImageDataModule(SplitDataModule):
    r"""Images as point sets for training, validation and test.

    Args:
        dataset: ``digits`` (:class:`~lieconv_pyg.datasets.RotDigits`, which come with
            scikit-learn) or ``rotmnist`` (:class:`~lieconv_pyg.datasets.RotMNIST`).
        root: Folder of RotMNIST. By default ``$LIECONV_ROTMNIST_ROOT``, else
            ``data/RotMNIST``.
        download: Whether to fetch RotMNIST where it is not on disk.
        upright: Whether training and validation images are upright, while those of the
            test are rotated. What rotations are, a network then knows from its group
            alone, unless it rotates images in training itself.
        num_train: Number of training images. By default all that are not for
            validation.
        num_valid: Number of validation images, the last ones of the training set. By
            default 2,000 of RotMNIST's 12,000 and 200 of the digits, but no more than
            a sixth of those that are there. With 0 all are for training, and the last
            epoch is tested.
        num_test: Number of test images. By default all.
        batch_size: Images in a batch of each process. In training the last batch is
            left out if it is smaller; in validation and test it never is.
        crop: Which pixels are kept, see :class:`~lieconv_pyg.images.ImageToPoints`.
        spacing: Distance of neighbouring pixels, see there.
        seed: Other numbers, other images for the test, and other angles.

    Raises:
        ValueError: If there is no such data set or a number is out of range; on use,
            if there are not so many images, or fewer than a batch.
        FileNotFoundError: On use, if RotMNIST is not there.
    """

    examples = "images"

    def __init__(
        self,
        dataset: str = "digits",
        root: str | None = None,
        download: bool = False,
        upright: bool = False,
        num_train: int | None = None,
        num_valid: int | None = None,
        num_test: int | None = None,
        batch_size: int = 25,
        crop: float | None = 15 / 14,
        spacing: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        self.dataset = find_name(dataset, _KNOWN, "dataset")
        mean, std, self._usual_valid = _KNOWN[self.dataset]
        for name, number, least in (
            ("num_train", num_train, 1),
            ("num_valid", num_valid, 0),
            ("num_test", num_test, 1),
        ):
            if number is not None and number < least:
                raise ValueError(f"{name} must be at least {least}, got {number}")
        self.to_points = ImageToPoints(crop, spacing, mean, std)
        self.root = Path(root or os.environ.get(ROOT_VARIABLE) or "data/RotMNIST")
        self.download = download
        self.upright = upright
        self.numbers = num_train, num_valid, num_test
        self.seed = seed
        self._parts: tuple[PointImages, PointImages, PointImages] | None = None

    def prepare_data(self) -> None:
        """Lets RotMNIST be prepared once, on one process."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Reads the images and shares them out."""
        if self._parts is not None:
            return
        train, test = (self._images(part) for part in (True, False))
        known = [train.source, len(train), len(test), self.upright, self.to_points]
        digest = hashlib.sha256(repr(known).encode())
        for part in (train, test):
            digest.update(part.y.numpy().tobytes())
            if "angle" in part[0]:
                digest.update(part.angle.numpy().tobytes())
        self._fingerprint = digest.hexdigest()
        num_train, num_valid, num_test = self.numbers
        if num_valid is None:
            num_valid = min(self._usual_valid, len(train) // 6)
        left = len(train) - num_valid
        num_train = left if num_train is None else num_train
        num_test = len(test) if num_test is None else num_test
        if num_train > left or left < 1:
            raise ValueError(
                f"num_train {num_train} and num_valid {num_valid} are more than the "
                f"{len(train)} training images of {self.dataset}"
            )
        if num_test > len(test):
            raise ValueError(
                f"num_test {num_test} is more than the {len(test)} test images of "
                f"{self.dataset}"
            )
        self.check_batch_size(num_train)
        self._parts = train[:num_train], train[left:], test[:num_test]

    def _images(self, train: bool) -> PointImages:
        settings: dict[str, Any] = dict(seed=self.seed, to_points=self.to_points)
        settings |= dict(train=train, rotated=not (train and self.upright))
        if self.dataset == "digits":
            return RotDigits(**settings)
        return RotMNIST(self.root, download=self.download, **settings)

    def share(self, other: ImageDataModule) -> None:
        """Takes the images that another one with the same arguments has read."""
        self._parts, self._fingerprint = other.parts, other.fingerprint

    @property
    def parts(self) -> tuple[PointImages, PointImages, PointImages]:
        """Training, validation and test images."""
        self.setup()
        assert self._parts is not None
        return self._parts

    @property
    def title(self) -> str:
        """The data, for tables."""
        upright = ", trained upright" if self.upright else ""
        return f"{type(self.parts[0]).__name__}{upright}"

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return self.parts[0].num_classes

    @property
    def num_channels(self) -> int:
        """How many values each point has."""
        return self.parts[0].num_features

    @property
    def has_validation(self) -> bool:
        """Whether any image is for validation."""
        return len(self.parts[1]) > 0

    def calibration_batch(self, num_examples: int = 8) -> Batch:
        """The first training images, few, as their points are the same."""
        return super().calibration_batch(num_examples)

    @staticmethod
    def name_in(config: Mapping[str, Any]) -> str:
        """The data set."""
        return config["dataset"]

    @property
    def fingerprint(self) -> str:
        """A digest of the labels and angles of all images, and of how points are made
        of them, before they are shared out."""
        self.setup()
        return self._fingerprint

    def describe(self) -> str:
        """One sentence on the data, for the head of a run."""
        train, valid, test = self.parts
        kind = "upright in training, rotated in the test" if self.upright else "rotated"
        return (
            f"{type(train).__name__} ({train.source}): {len(train)} training, "
            f"{len(valid)} validation and {len(test)} test images of "
            f"{len(train.pos)} points, {kind}"
        )

    def _check_share(self, part: int, num_processes: int) -> None:
        if part != 1 or self.has_validation:
            super()._check_share(part, num_processes)

    def val_dataloader(self) -> Any:
        """All validation images, in order; none where there are none."""
        return super().val_dataloader() if self.has_validation else []
