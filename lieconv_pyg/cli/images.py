"""The command line for images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lieconv_pyg.cli.data_first import ClassifierCLI
from lieconv_pyg.training import ImageDataModule, ImageModule, ImageReport, image_text


class ImageCLI(ClassifierCLI):
    """Trains classifiers of images."""

    task = "images"
    module_class = ImageModule
    data_class = ImageDataModule
    report_class = ImageReport
    networks: ClassVar[Mapping[str, str]] = {
        "lieconv": "lieconv_pyg.nn.ImageLieResNet",
        "point_net": "lieconv_pyg.nn.point_net.PointNet",
    }

    report: ImageReport

    def chosen(self, data: ImageDataModule) -> dict[str, Any]:
        """Channels and classes."""
        return {"in_channels": data.num_channels, "out_channels": data.num_classes}

    def look_at_data(self) -> None:
        """Takes the images that were read. Where none is for validation, the last
        epoch counts."""
        super().look_at_data()
        if self.datamodule.has_validation:
            return
        if self.subcommand == "validate":
            raise ValueError("data.num_valid is 0: there are no images to validate on")
        if self._get(self.config, "patience") is not None:
            raise ValueError("patience needs images for validation: set data.num_valid")
        self.take_last_epoch()

    def summary(self) -> str:
        """The table of errors."""
        assert self.report.test is not None
        return image_text([self.report.test])
