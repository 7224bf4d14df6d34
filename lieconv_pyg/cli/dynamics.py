"""The command line for dynamics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lieconv_pyg.checkpoints import build
from lieconv_pyg.cli.lightning_cli import LieConvCLI
from lieconv_pyg.dynamics import Springs
from lieconv_pyg.training import (
    DynamicsDataModule,
    DynamicsModule,
    DynamicsReport,
    dynamics_text,
)


class DynamicsCLI(LieConvCLI):
    """Trains dynamics of a system."""

    task = "dynamics"
    module_class = DynamicsModule
    data_class = DynamicsDataModule
    report_class = DynamicsReport
    networks: ClassVar[Mapping[str, str]] = {
        name.lower(): f"lieconv_pyg.dynamics.{name}"
        for name in ("HLieResNet", "FLieResNet", "FC", "HFC", "OGN", "HOGN", "VOGN")
    }

    report: DynamicsReport

    def complete_configuration(self) -> None:
        """Makes the path of the data absolute, so that the configuration that is kept
        holds in other folders too, and sets what follows from the system."""
        data = self._get(self.config, "data")
        data.root = str(Path(data.root).expanduser().resolve())
        system = Springs() if data.system is None else build(data.system.as_dict())
        chosen = {"space_dim": system.space_dim, "num_params": system.num_params}
        if len(set(system.sizes)) == 1:
            chosen["num_particles"] = system.sizes[0]
        self.fill_in(chosen)

    def look_at_data(self) -> None:
        """Computes the trajectories, if the network is one for them."""
        self.model.check(self.datamodule)
        self.datamodule.prepare_data()

    @property
    def run_name(self) -> str:
        """The system."""
        return type(self.datamodule.system).__name__

    def error(self, value: float) -> str:
        """A mean square error."""
        return f"MSE {value:.3g}"

    def results(self) -> dict[str, Any]:
        """The test errors."""
        return {"test": self.report.test}

    def summary(self) -> str:
        """The table of errors, and what is conserved."""
        test = self.report.test
        assert test is not None
        parts = [dynamics_text([test])]
        if test.rollouts is not None:
            parts.append(str(test.rollouts.conserved))
        return "\n\n".join(parts)
