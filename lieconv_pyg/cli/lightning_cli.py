"""Lightning's command line, for whatever is trained."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lieconv_pyg import __version__
from lieconv_pyg.cli.checkpoint import check_same
from lieconv_pyg.cli.errors import RunError, usage_errors
from lieconv_pyg.cli.networks import long_names
from lieconv_pyg.cli.predict import parser as predict_parser
from lieconv_pyg.cli.save_config import SaveConfig
from lieconv_pyg.datasets import Target
from lieconv_pyg.training import (
    EMA,
    Discovery,
    DivergenceError,
    DynamicsTest,
    ImageTest,
    JetTest,
    Predictions,
    RandomState,
    RunProgress,
    RunReport,
    trainer_parts,
)
from lieconv_pyg.training.base import NetworkModule, SplitDataModule
from lieconv_pyg.training.report import model_name

COMMANDS = ("fit", "validate", "test")


@dataclass(frozen=True)
class Run:
    r"""What a finished ``lieconv fit`` has made.

    Args:
        folder (Path): The run's folder.
        checkpoint (Path, optional): The best checkpoint; :obj:`None` in a trial run.
        history (list): Rows (epoch, training error, validation error).
        files (list of Path): Results and figures.
        epoch_seconds (float): Median time of an epoch with its validation.
        predictions (Predictions, optional): The test predictions, of molecules.
        test (optional): A DynamicsTest, an ImageTest, a JetTest or a Discovery.
    """

    folder: Path
    checkpoint: Path | None
    history: list[tuple[float, float, float]]
    files: list[Path]
    epoch_seconds: float
    predictions: Predictions | None = None
    test: DynamicsTest | ImageTest | JetTest | Discovery | None = None

    @property
    def target(self) -> Target | None:
        """What was predicted of molecules."""
        return None if self.predictions is None else self.predictions.target


class LieConvCLI(LightningCLI, ABC):
    r"""Lightning's command line for one task. A subclass has its module, data and
    report.

    A run writes into one folder: ``--output``, by default a new one in ``runs``. What
    is wrong with the arguments or the data shows before it is made.

    Args:
        args (sequence of str): The arguments.
        goes_on (bool): Whether they go on with a run.
        table (bool, optional): Whether ``fit`` prints the test errors.
            (default: :obj:`True`)
    """

    #: Its name, for ``--task``.
    task: str
    module_class: type[NetworkModule]
    data_class: type[SplitDataModule]
    report_class: type[RunReport]
    #: Short names of networks.
    networks: ClassVar[Mapping[str, str]]

    run: Run | None = None
    _best: ModelCheckpoint | None = None
    _last: ModelCheckpoint | None = None

    def __init__(
        self, args: Sequence[str], goes_on: bool = False, table: bool = True
    ) -> None:
        self.table = table
        self._goes_on = goes_on
        with usage_errors():
            self._given = long_names(args, self.networks)
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            self.module_class,
            self.data_class,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={
                "max_epochs": 100,
                "enable_model_summary": False,
                "inference_mode": False,  # forces are gradients, in tests too
                # MPS has no float64, which total energies need.
                "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
            },
            seed_everything_default=0,
            parser_kwargs={
                **strict,
                "prog": "lieconv",
                "description": "Trains and tests networks on molecules, or with --task "
                "on dynamics, images, jets or the discovery of symmetries.",
                "version": __version__,
                **{name: dict(strict) for name in self.subcommands()},
            },
            args=self._given,
            auto_configure_optimizers=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """What there is: fit, validate, test."""
        known = LightningCLI.subcommands()
        # Checkpoints hold plain values: there is nothing to choose.
        return {name: known[name] | {"weights_only"} for name in COMMANDS}

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        assert parser._subcommands_action is not None
        parser._subcommands_action.add_subcommand(  # for --help: main runs it
            "predict", predict_parser(), help="Predict for the structures of a file."
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what concerns the run as a whole."""
        parser.add_argument(
            "--task",
            type=Literal[self.task],
            default=self.task,
            help="What is trained. It chooses among model, data and networks.",
        )
        parser.add_argument(
            "--output",
            type=str | None,
            default=None,
            help="Folder of the run. By default a new one in runs/.",
        )
        parser.add_argument(
            "--ema",
            type=float | None,
            default=None,
            help="Decay of a moving average of the weights, such as 0.999. It is what "
            "is validated, saved and tested. By default there is none.",
        )
        parser.add_argument(
            "--patience",
            type=int | None,
            default=None,
            help="Stop after so many epochs without a better validation error.",
        )
        parser.add_argument(
            "--trust",
            type=list[str] | str,
            default=[],
            help="Packages of yours whose classes a checkpoint's configuration names.",
        )

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would take a checkpoint's settings; ours are compared."""

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer, and looks at the data."""
        with usage_errors():
            self.complete_configuration()
            super().instantiate_classes()
            self.look_at_data()
            self.datamodule.check_processes(self.trainer.world_size)
            self._check()

    @abstractmethod
    def complete_configuration(self) -> None:
        """Sets what was left open, before anything is built."""

    def fill_in(self, chosen: Mapping[str, Any]) -> None:
        """Sets arguments of the network that were left open, or are ``auto``."""
        given = self.parser.parse_args(self._given, defaults=False)
        fixed = self._get(given, "model").network.get("init_args") or Namespace()
        settings = self._get(self.config, "model").network.get("init_args") or {}
        for name, value in chosen.items():
            if name in settings and fixed.get(name, "auto") == "auto":
                settings[name] = value

    @abstractmethod
    def look_at_data(self) -> None:
        """Has the data at hand."""

    @property
    @abstractmethod
    def run_name(self) -> str:
        """What begins the name of the run's folder."""

    @abstractmethod
    def error(self, value: float) -> str:
        """An error of a run's history, with its name and unit."""

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """What the test has found, for :class:`Run`."""

    @abstractmethod
    def summary(self) -> str:
        """What the test has found, as text."""

    @rank_zero_only
    def _check(self) -> None:
        """Raises for whatever is wrong before anything is written."""
        checkpoint = self._get(self.config, "ckpt_path")
        dump = self.parser.dump(self.config, skip_none=False)
        for line in dump.splitlines():
            if "Unable to serialize" in line:
                raise ValueError(f"a value that cannot be written down: {line.strip()}")
        if checkpoint:
            config = yaml.safe_load(dump)[self.subcommand]
            check_same(str(self.subcommand), Path(checkpoint), config, self.datamodule)
        if self.subcommand == "fit":
            self._check_folder(checkpoint)
        if self.trainer.precision in ("bf16-true", "16-true"):
            raise ValueError(
                "trainer.precision: group elements need single precision; take "
                "bf16-mixed or 32-true"
            )
        if self.trainer.limit_test_batches == 0:
            raise ValueError(
                f"trainer.limit_test_batches leaves no test {self.datamodule.examples}"
            )
        if self.trainer.max_epochs == 0:
            raise ValueError("trainer.max_epochs must be at least 1")
        if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
            raise ValueError("trainer: max_epochs or max_steps must be set")
        self.model.check(self.datamodule)

    def _check_folder(self, checkpoint: str | None) -> None:
        """Whether the run can write into its folder: a new one, or its own."""
        if self._get(self.config, "output") == "":
            raise ValueError("output is empty: name a folder, or leave it out")
        there = next(p for p in (self.folder, *self.folder.parents) if p.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise ValueError(f"output: {there} is not a folder that can be written to")
        if checkpoint:
            own = Path(checkpoint).resolve().is_relative_to(self.folder.resolve())
        else:
            own = self._goes_on  # from the beginning
        # What a run leaves that was killed before it began is no reason.
        used = any(not path.name.endswith(".part") for path in there.iterdir())
        if there == self.folder and used and not own:
            raise ValueError(f"output: {self.folder} is not empty, name another")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        if not hasattr(self, "_folder"):
            output = self._get(self.config, "output")
            # Lightning starts the same command for the other processes.
            stamp = os.environ.get("LIECONV_STAMP") if _rank() else None
            if stamp is None:
                now = datetime.now().strftime("%Y%m%d-%H%M%S")
                stamp = f"{now}-{secrets.token_hex(2)}"  # several begin at once
            os.environ["LIECONV_STAMP"] = stamp
            network = type(self.model.network).__name__
            name = f"{self.run_name}-{network}-{stamp}".replace(" ", "_")
            self._folder = Path(output) if output else Path("runs") / name
        return self._folder

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds checkpoints, the log, the bar and the report to the trainer."""
        config = self._get(self.config_init, "trainer")
        fit = self.subcommand == "fit"
        trial = bool(config.get("fast_dev_run"))
        self.report = self.report_class(self.folder if fit and not trial else None)
        self.progress = RunProgress()
        callbacks: list[Any] = [self.report, RandomState()]
        if config.get("enable_progress_bar") is not False:
            callbacks.append(self.progress)
        ema, patience = (self._get(self.config, key) for key in ("ema", "patience"))
        best = self.report.monitor
        if fit:
            callbacks += [] if ema is None else [EMA(ema)]
            callbacks += trainer_parts.early_stopping(patience, best)
            if not trial and config.get("enable_checkpointing") is not False:
                self._best, self._last = trainer_parts.checkpoints(self.folder, best)
                callbacks += [self._best, self._last]
            if config.get("logger") in (None, True):
                kwargs["logger"] = trainer_parts.loggers(self.folder)
        else:
            kwargs |= dict(logger=False, enable_checkpointing=False)
            self.save_config_callback = None
        self.trainer_defaults["callbacks"] = callbacks
        kwargs["plugins"] = trainer_parts.plugins(config.get("plugins"))
        kwargs["sync_batchnorm"] = False  # the plugin does it, on the CPU too
        return super().instantiate_trainer(default_root_dir=str(self.folder), **kwargs)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        arguments = super()._prepare_subcommand_kwargs(subcommand)
        return {**arguments, "weights_only": True}

    def before_fit(self) -> None:
        """Says what is going to be trained, on what, and where it goes."""
        size = sum(p.numel() for p in self.model.network.parameters())
        device = type(self.trainer.accelerator).__name__.removesuffix("Accelerator")
        say(f"data     {self.datamodule.describe()}")
        say(f"model    {model_name(self.model.network)}, {size:,} parameters, {device}")
        say(f"folder   {self.folder}")

    def after_fit(self) -> None:
        """Tests the best checkpoint and shows the errors."""
        saved = [c.best_model_path for c in (self._best, self._last) if c is not None]
        best = next(filter(None, saved), None)
        # Asked now: the test loads the state that the best epoch had.
        callbacks: Any = self.trainer.callbacks  # type: ignore[attr-defined]
        early = any(getattr(c, "stopped_epoch", 0) for c in callbacks)
        self.trainer.test(
            self.model,
            datamodule=self.datamodule,
            ckpt_path=best,
            verbose=False,
            weights_only=True,
        )
        self.run = Run(
            self.folder,
            Path(best) if best else None,
            self.report.history,
            self.report.files,
            self.report.epoch_seconds,
            **self.results(),
        )
        self._say_best(early)
        if self.table:
            say("\n" + self.summary() + "\n")
        for file in self.run.files:
            say(f"wrote    {file}")
        if self.run.checkpoint is not None:
            say(f"checkpoint {self.run.checkpoint}, figures in {self.folder}")

    def _say_best(self, early: bool) -> None:
        """Which epoch is tested, and whether the run stopped early."""
        if self.run is None or self.run.checkpoint is None:
            return
        epoch = self.report.loaded_epoch
        errors = [row[2] for row in self.run.history if row[0] == epoch]
        error = "".join(f", val {self.error(e)}" for e in errors)
        patience = self._get(self.config, "patience")
        stopped = f"; stopped: {patience} epochs without a better one" if early else ""
        last = self.run.history[-1][0]
        say(f"tested   the best epoch, {epoch} of {last}{error}{stopped}")

    def validate(self, model: LightningModule, **kwargs: Any) -> None:
        """Shows the validation errors with their units."""
        self.trainer.validate(model, **{**kwargs, "verbose": False})
        number = len(self.datamodule.parts[1])
        say(f"{self.run_name}, {number} validation {self.datamodule.examples}")
        say(self.error(float(self.trainer.callback_metrics[self.report.errors[1]])))

    def test(self, model: LightningModule, **kwargs: Any) -> None:
        """Shows the test errors as the table of a run."""
        self.trainer.test(model, **{**kwargs, "verbose": False})
        say(self.summary())

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except DivergenceError as error:
            raise RunError(error) from error
        except OSError as error:
            raise RunError(f"{error}; checkpoints are in {self.folder}") from error


def _rank() -> int:
    """Which process this is, known before there is a trainer."""
    return getattr(rank_zero_only, "rank", 0)


@rank_zero_only
def say(text: str) -> None:
    """Prints a line, on the first process."""
    print(text, flush=True)
