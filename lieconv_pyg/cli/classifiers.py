"""The command line for classifiers, whatever they classify."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from lieconv_pyg.cli.lightning_cli import LieConvCLI


class ClassifierCLI(LieConvCLI):
    """Trains classifiers. A subclass says what follows from the data."""

    def complete_configuration(self) -> None:
        """Reads the data, and sets what follows from them."""
        data = self._get(self.config, "data")
        if data.root is not None:  # so that it holds in other folders too
            data.root = str(Path(data.root).expanduser().resolve())
        self._read: Any = self.data_class(**data.as_dict())
        self.fill_in(self.chosen(self._read))

    @abstractmethod
    def chosen(self, data: Any) -> dict[str, Any]:
        """What the data say of the network."""

    def look_at_data(self) -> None:
        """Takes the data that were read."""
        self.datamodule.share(self._read)

    @property
    def run_name(self) -> str:
        """The data set."""
        return self.datamodule.dataset

    def error(self, value: float) -> str:
        """A share of the examples."""
        return f"error {value:.3g} %"

    def results(self) -> dict[str, Any]:
        """The test predictions."""
        report: Any = self.report
        return {"test": report.test}
