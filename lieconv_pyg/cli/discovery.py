"""The command line for the discovery of symmetries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from lieconv_pyg.cli.lightning_cli import LieConvCLI, say
from lieconv_pyg.training import DiscoveryDataModule, DiscoveryModule, DiscoveryReport


class DiscoveryCLI(LieConvCLI):
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

    def complete_configuration(self) -> None:
        """Makes the data, and sets the representation that follows from them."""
        data = self._get(self.config, "data")
        if data.root is not None:  # so that it holds in other folders too
            data.root = str(Path(data.root).expanduser().resolve())
        self._made = DiscoveryDataModule(**data.as_dict())
        self.fill_in({"representation": asdict(self._made.parts[0].representation)})

    def look_at_data(self) -> None:
        """Takes the data that were made. What counts is the last epoch: the losses of
        adversaries do not tell which is best."""
        self.datamodule.share(self._made)
        for name in ("patience", "ema"):
            if self._get(self.config, name) is not None:
                raise ValueError(f"{name} does not go with discovery: leave it out")
        if self._best is not None:
            self.trainer.callbacks.remove(self._best)  # type: ignore[attr-defined]
            self._best = None

    @property
    def run_name(self) -> str:
        """The problem."""
        return self.datamodule.problem

    def error(self, value: float) -> str:
        """A loss."""
        return f"loss {value:.3g}"

    def results(self) -> dict[str, Any]:
        """What was found."""
        return {"test": self.report.test}

    def summary(self) -> str:
        """What was found, as text."""
        return str(self.report.test)

    def _say_best(self, early: bool) -> None:
        if self.run is not None and self.run.checkpoint is not None:
            say(f"tested   the last epoch, {self.report.history[-1][0]}")
