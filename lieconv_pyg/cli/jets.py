"""The command line for jets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lieconv_pyg.cli.lightning_cli import LieConvCLI
from lieconv_pyg.training import JetDataModule, JetModule, JetReport, jet_text


class JetCLI(LieConvCLI):
    """Trains classifiers of jets."""

    task = "jets"
    module_class = JetModule
    data_class = JetDataModule
    report_class = JetReport
    networks: ClassVar[Mapping[str, str]] = {
        "lieconv": "lieconv_pyg.nn.JetLieResNet",
        "lorentz_net": "lieconv_pyg.nn.LorentzNet",
    }

    report: JetReport

    def complete_configuration(self) -> None:
        """Reads the jets, and sets what follows from them."""
        data = self._get(self.config, "data")
        if data.root is not None:  # so that it holds in other folders too
            data.root = str(Path(data.root).expanduser().resolve())
        self._jets = JetDataModule(**data.as_dict())
        self.fill_in({"out_channels": self._jets.num_classes})

    def look_at_data(self) -> None:
        """Takes the jets that were read."""
        self.datamodule.share(self._jets)

    @property
    def run_name(self) -> str:
        """The data set."""
        return self.datamodule.dataset

    def error(self, value: float) -> str:
        """A share of jets."""
        return f"error {value:.3g} %"

    def results(self) -> dict[str, Any]:
        """The test predictions."""
        return {"test": self.report.test}

    def summary(self) -> str:
        """The table of results."""
        assert self.report.test is not None
        return jet_text([self.report.test])
