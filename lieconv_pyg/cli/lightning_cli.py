r"""The command ``lieconv``: trains and tests networks on molecules.

.. code-block:: console

    lieconv fit --config examples/configs/demo.yaml
    lieconv fit --config FILE --data.target homo --trainer.max_epochs 20
    lieconv test --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import (
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lieconv_pyg import __version__
from lieconv_pyg.datasets import Target
from lieconv_pyg.training import (
    MoleculeDataModule,
    MoleculeModule,
    Predictions,
    RandomState,
    RunProgress,
    RunReport,
    error_table,
    quiet,
)
from lieconv_pyg.training.report import model_name

_COMMANDS = ("fit", "validate", "test")


class UsageError(Exception):
    """Something that the user can put right; the message says how."""


@dataclass(frozen=True)
class Run:
    r"""What a finished ``lieconv fit`` has made.

    Args:
        folder (Path): The run's folder.
        checkpoint (Path, optional): The best checkpoint; :obj:`None` in a trial run.
        predictions (Predictions): The test predictions.
        history (list): Rows (epoch, training MAE, validation MAE).
        files (list of Path): Predictions and figures.
    """

    folder: Path
    checkpoint: Path | None
    predictions: Predictions
    history: list[tuple[float, float, float]]
    files: list[Path] = field(default_factory=list)

    @property
    def target(self) -> Target:
        """What was predicted."""
        return self.predictions.target


class _SaveConfig(SaveConfigCallback):
    """Saves the whole configuration in the run's folder."""

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Writes ``config.yaml``."""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config.clone()
        config.ckpt_path = None  # the run that was resumed, not this one's beginning
        self.parser.save(
            config,
            str(folder / self.config_filename),
            skip_none=False,
            overwrite=True,
        )


class LieConvCLI(LightningCLI):
    r"""Lightning's command line for :class:`~lieconv_pyg.training.MoleculeModule` and
    :class:`~lieconv_pyg.training.MoleculeDataModule`.

    A run writes into one folder: ``--output``, by default a new one in ``runs``. What
    is wrong with the arguments or the data shows before it is made.

    Args:
        args (sequence of str, optional): The arguments; by default the process's.
        table (bool, optional): Whether ``fit`` prints the test errors.
            (default: :obj:`True`)
    """

    run: Run | None = None

    def __init__(self, args: Sequence[str] | None = None, table: bool = True) -> None:
        self.table = table
        strict = {"exit_on_error": False}
        super().__init__(
            MoleculeModule,
            MoleculeDataModule,
            save_config_callback=_SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={
                "max_epochs": 100,
                "enable_model_summary": False,
                # MPS has no float64, which total energies need.
                "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
            },
            seed_everything_default=0,
            parser_kwargs={
                **strict,
                "prog": "lieconv",
                "version": __version__,
                **{name: dict(strict) for name in self.subcommands()},
            },
            args=None if args is None else list(args),
            auto_configure_optimizers=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """What there is: fit, validate, test."""
        known = LightningCLI.subcommands()
        # Checkpoints hold plain values: there is nothing to choose.
        return {name: known[name] | {"weights_only"} for name in _COMMANDS}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``--output``."""
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="Folder of the run. By default a new one in runs/.",
        )

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer, and looks at the data."""
        try:
            super().instantiate_classes()
            self._check()
        except ArgumentError:
            raise
        except (ValueError, TypeError, OSError, ImportError) as error:
            raise UsageError(str(error)) from error
        except Exception as error:
            # Lightning's own complaints about the trainer's arguments.
            if type(error).__name__ == "MisconfigurationException":
                raise UsageError(str(error)) from error
            raise

    @rank_zero_only
    def _check(self) -> None:
        """Raises for whatever is wrong before anything is written."""
        from lieconv_pyg.training.module import check_species

        checkpoint = self._get(self.config, "ckpt_path")
        special = {"best", "last", "hpc", "registry"}
        if checkpoint and checkpoint not in special and not Path(checkpoint).is_file():
            raise FileNotFoundError(f"ckpt_path: there is no file {checkpoint}")
        new = self.subcommand == "fit" and not checkpoint
        if new and self.folder.exists():
            if not self.folder.is_dir():
                raise ValueError(f"output: {self.folder} is not a folder")
            if any(self.folder.iterdir()):
                raise ValueError(f"output: {self.folder} is not empty, name another")
        if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
            raise ValueError("trainer: max_epochs or max_steps must be set")
        self.datamodule.setup()
        check_species(self.model.network, self.datamodule.elements())

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if not hasattr(self, "_folder"):
            output = self._get(self.config, "output")
            stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
            network = type(self.model.network).__name__
            target = Path(self.datamodule.target_name).name
            name = f"{target}-{network}-{stamp}".replace(" ", "_")
            self._folder = Path(output) if output else Path("runs") / name
        return self._folder

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds checkpoints, the log, the bar and the report to the trainer."""
        config = self._get(self.config_init, "trainer")
        fit = self.subcommand == "fit"
        trial = bool(config.get("fast_dev_run"))
        self.report = RunReport(self.folder if fit and not trial else None)
        self.progress = RunProgress()
        callbacks: list[Any] = [self.report, RandomState()]
        if config.get("enable_progress_bar") is not False:
            callbacks.append(self.progress)
        if fit and not trial and config.get("enable_checkpointing") is not False:
            folder = (self.folder / "checkpoints").resolve()
            callbacks += [  # the best, and the last of all epochs
                ModelCheckpoint(
                    folder,
                    filename="best",
                    monitor="val/mae",
                    enable_version_counter=False,
                ),
                ModelCheckpoint(folder, filename="last", enable_version_counter=False),
            ]
        if fit and config.get("logger") in (None, True):
            kwargs["logger"] = CSVLogger(str(self.folder), name="logs")
        if not fit:
            kwargs["logger"] = False
            kwargs["enable_checkpointing"] = False
            self.save_config_callback = None
        self.trainer_defaults["callbacks"] = callbacks
        return super().instantiate_trainer(default_root_dir=str(self.folder), **kwargs)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        arguments = super()._prepare_subcommand_kwargs(subcommand)
        return {**arguments, "weights_only": True}

    def before_fit(self) -> None:
        """Says what is going to be trained, on what, and where it goes."""
        self.progress.unit = self.datamodule.target.unit
        size = sum(p.numel() for p in self.model.network.parameters())
        device = type(self.trainer.accelerator).__name__.removesuffix("Accelerator")
        name = model_name(self.model.network)
        _say(f"data     {self.datamodule.describe()}")
        _say(f"model    {name}, {size:,} parameters, {device}")
        _say(f"folder   {self.folder}")

    def after_fit(self) -> None:
        """Tests the best checkpoint and shows the errors."""
        trial = self.report.folder is None
        checkpoint = self.trainer.checkpoint_callback
        best = getattr(checkpoint, "best_model_path", "") if not trial else ""
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=best or None,
            verbose=False,
            weights_only=True,
        )
        assert self.report.predictions is not None
        self.run = Run(
            self.folder,
            Path(best) if best else None,
            self.report.predictions,
            self.report.history,
            self.report.files,
        )
        if self.table:
            _say("\n" + error_table([self.run.predictions]) + "\n")
        for file in self.run.files:
            _say(f"wrote    {file}")
        if self.run.checkpoint is not None:
            _say(f"checkpoint {self.run.checkpoint}")

    def test(self, model: MoleculeModule, **kwargs: Any) -> None:
        """Shows the test errors as the table of a run."""
        self.trainer.test(model, **{**kwargs, "verbose": False})
        assert self.report.predictions is not None
        _say(error_table([self.report.predictions]))


@rank_zero_only
def _say(text: str) -> None:
    print(text, flush=True)


def fit(args: Sequence[str], table: bool = True) -> Run:
    r"""Runs ``lieconv fit`` from Python.

    Args:
        args (sequence of str): What would follow ``lieconv fit``.
        table (bool, optional): Whether to print the errors. (default: :obj:`True`)

    Raises:
        UsageError: If something is wrong with the arguments or the data.
    """
    with quiet():
        cli = _start(["fit", *args], table)
    assert cli.run is not None
    return cli.run


def _start(args: Sequence[str] | None, table: bool = True) -> LieConvCLI:
    """Runs a command; complaints about its arguments become :class:`UsageError`."""
    try:
        return LieConvCLI(args, table)
    except ArgumentError as error:
        raise UsageError(str(error)) from error


def main(args: Sequence[str] | None = None) -> int:
    r"""The command ``lieconv``.

    Args:
        args (sequence of str, optional): The arguments; by default those of the
            command line.

    Returns:
        0, or 2 where the arguments or the data are wrong: then there is one line on
        standard error that says what, and nothing is left behind.
    """
    try:
        with quiet():
            _start(args)
    except UsageError as error:
        print(f"lieconv: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        if stop.code != 1:
            raise
        return _interrupted()  # Lightning's way to say so
    return 0


def _interrupted() -> int:
    print("lieconv: interrupted; --ckpt_path goes on from last.ckpt", file=sys.stderr)
    return 130


def one_line(message: str) -> str:
    """A message without line breaks and runs of blanks."""
    return " ".join(message.split())


if __name__ == "__main__":
    sys.exit(main())
