"""The command line where data are read first, and say what the network must be."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from lieconv_pyg.cli.lightning_cli import LieConvCLI, say


class DataFirstCLI(LieConvCLI):
    """Reads or makes the data before the network. A subclass says what follows."""

    def complete_configuration(self) -> None:
        """Reads or makes the data, and sets what follows from them."""
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

    def take_last_epoch(self) -> None:
        """Has the last epoch count, not the one with the smallest error."""
        if self._best is not None:
            self.trainer.callbacks.remove(self._best)  # type: ignore[attr-defined]
            self._best = None

    def results(self) -> dict[str, Any]:
        """What the test has found."""
        report: Any = self.report
        return {"test": report.test}

    def _say_best(self, early: bool) -> None:
        if self._best is not None:
            super()._say_best(early)
        elif self.run is not None and self.run.checkpoint is not None:
            say(f"tested   the last epoch, {self.report.history[-1][0]}")


class ClassifierCLI(DataFirstCLI):
    """Trains classifiers."""

    @property
    def run_name(self) -> str:
        """The data set."""
        return self.datamodule.dataset

    def error(self, value: float) -> str:
        """A share of the examples."""
        return f"error {value:.3g} %"
