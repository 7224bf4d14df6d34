"""The command line for the discovery of symmetries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from lieconv_pyg.cli.data_first import DataFirstCLI
from lieconv_pyg.training import DiscoveryDataModule, DiscoveryModule, DiscoveryReport


class DiscoveryCLI(DataFirstCLI):
    """Looks for symmetries of data."""

    task = "discovery"
    module_class = DiscoveryModule
    data_class = DiscoveryDataModule
    report_class = DiscoveryReport
    networks: ClassVar[Mapping[str, str]] = {
        "lie_gan": "lieconv_pyg.discovery.LieGAN",
        "symmetry_gan": "lieconv_pyg.discovery.SymmetryGAN",
        "augerino": "lieconv_pyg.discovery.Augerino",
        "augerino_plus": "lieconv_pyg.discovery.AugerinoPlus",
        "null_space": "lieconv_pyg.discovery.GradientNullSpace",
    }

    report: DiscoveryReport

    def chosen(self, data: DiscoveryDataModule) -> dict[str, Any]:
        """The representation."""
        return {"representation": asdict(data.parts[0].representation)}

    def look_at_data(self) -> None:
        """Takes the data that were made. What counts is the last epoch: the losses of
        adversaries do not tell which is best."""
        super().look_at_data()
        for name in ("patience", "ema"):
            if self._get(self.config, name) is not None:
                raise ValueError(f"{name} does not go with discovery: leave it out")
        self.take_last_epoch()

    @property
    def run_name(self) -> str:
        """The problem."""
        return self.datamodule.problem

    def error(self, value: float) -> str:
        """A loss."""
        return f"loss {value:.3g}"

    def summary(self) -> str:
        """What was found, as text."""
        return str(self.report.test)
