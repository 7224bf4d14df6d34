"""The command line for molecules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import LightningModule

from lieconv_pyg.cli.lightning_cli import LieConvCLI, say
from lieconv_pyg.datasets import Target
from lieconv_pyg.training import (
    MoleculeDataModule,
    MoleculeModule,
    MoleculeReport,
    error_table,
)


class MoleculeCLI(LieConvCLI):
    """Trains one target of molecules."""

    task = "molecules"
    module_class = MoleculeModule
    data_class = MoleculeDataModule
    report_class = MoleculeReport
    networks: ClassVar[Mapping[str, str]] = {
        "lieconv": "lieconv_pyg.nn.MoleculeLieResNet",
        "graph_net": "lieconv_pyg.nn.graph_net.GraphNet",
        "egnn": "lieconv_pyg.nn.EGNN",
        "schnet": "lieconv_pyg.nn.pyg_models.SchNet",
        "dimenet": "lieconv_pyg.nn.pyg_models.DimeNetPlusPlus",
    }

    report: MoleculeReport

    def complete_configuration(self) -> None:
        """Loads the data, and sets what follows from the target."""
        self._make_paths_absolute()
        settings = self._get(self.config, "data").as_dict()
        self._molecules = MoleculeDataModule(**settings)
        self._molecules.setup()
        self._fit_network_to(self._molecules.target)

    def look_at_data(self) -> None:
        """Takes the data that are loaded."""
        self.datamodule.share(self._molecules)
        self.progress.unit = self.datamodule.target.unit

    def _make_paths_absolute(self) -> None:
        """So that the configuration that is kept holds in other folders too."""
        data = self._get(self.config, "data")
        for name in ("dataset", "root"):
            given = data[name]
            if given and given.lower() not in ("qm9", "g2"):
                path = Path(given).expanduser()
                data[name] = str(path.resolve()) if path.exists() else given

    def _fit_network_to(self, target: Target) -> None:
        """Sets what follows from the target and was left open, or is ``auto``: sums
        for extensive targets, vectors for vectors."""
        chosen = {
            "pool": "sum" if target.extensive else "mean",
            "readout": "add" if target.extensive else "mean",  # PyG's SchNet
            "out_vectors": target.num_components > 1,
        }
        self.fill_in(chosen)

    @property
    def run_name(self) -> str:
        """The target."""
        return Path(self.datamodule.target_name).name

    def error(self, value: float) -> str:
        """A mean absolute error."""
        return f"MAE {value:.4g} {self.datamodule.target.unit}"

    def results(self) -> dict[str, Any]:
        """The test predictions."""
        return {"predictions": self.report.predictions}

    def summary(self) -> str:
        """The table of errors."""
        assert self.report.predictions is not None
        return error_table([self.report.predictions])

    def validate(self, model: LightningModule, **kwargs: Any) -> None:
        """Shows the errors of forces too."""
        super().validate(model, **kwargs)
        found = self.trainer.callback_metrics
        if "val/force_mae" in found:
            unit = self.datamodule.target.unit
            say(f"FORCE MAE {found['val/force_mae']:.4g} {unit}/Å")
