"""The command line for jets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lieconv_pyg.cli.data_first import ClassifierCLI
from lieconv_pyg.training import JetDataModule, JetModule, JetReport, jet_text


class JetCLI(ClassifierCLI):
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

    def chosen(self, data: JetDataModule) -> dict[str, Any]:
        """Classes."""
        return {"out_channels": data.num_classes}

    def summary(self) -> str:
        """The table of results."""
        assert self.report.test is not None
        return jet_text([self.report.test])
