"""Lightning's command line for molecules."""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lieconv_pyg import __version__
from lieconv_pyg.cli.checkpoint import check_same, with_checkpoint
from lieconv_pyg.cli.errors import RunError, usage_errors
from lieconv_pyg.cli.networks import long_names
from lieconv_pyg.cli.predict import parser as predict_parser
from lieconv_pyg.cli.save_config import SaveConfig
from lieconv_pyg.datasets import Target
from lieconv_pyg.training import (
    EMA,
    DivergenceError,
    MoleculeDataModule,
    MoleculeModule,
    Predictions,
    RandomState,
    RunProgress,
    RunReport,
    error_table,
    trainer_parts,
)
from lieconv_pyg.training.report import model_name

_COMMANDS = ("fit", "validate", "test")


@dataclass(frozen=True)
class Run:
    r"""What a finished ``lieconv fit`` has made.

    Args:
        folder (Path): The run's folder.
        checkpoint (Path, optional): The best checkpoint; :obj:`None` in a trial run.
        predictions (Predictions): The test predictions.
        history (list): Rows (epoch, training MAE, validation MAE).
        files (list of Path): Predictions and figures.
        epoch_seconds (float): Median time of an epoch with its validation.
    """

    folder: Path
    checkpoint: Path | None
    predictions: Predictions
    history: list[tuple[float, float, float]]
    files: list[Path] = field(default_factory=list)
    epoch_seconds: float = math.nan

    @property
    def target(self) -> Target:
        """What was predicted."""
        return self.predictions.target


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
    _best: ModelCheckpoint | None = None
    _last: ModelCheckpoint | None = None

    def __init__(self, args: Sequence[str] | None = None, table: bool = True) -> None:
        self.table = table
        strict = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            MoleculeModule,
            MoleculeDataModule,
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
                "description": "Trains and tests networks on molecules.",
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

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        assert parser._subcommands_action is not None
        parser._subcommands_action.add_subcommand(  # for --help: main runs it
            "predict", predict_parser(), help="Predict for the structures of a file."
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what concerns the run as a whole."""
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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses, with the configuration of a checkpoint where there is no other."""
        given = list(sys.argv[1:] if args is None else args)
        self._goes_on = False
        with usage_errors():
            given = long_names(given)
            if given and given[0] in _COMMANDS:
                given, self._goes_on = with_checkpoint(given)
        self._given = given
        super().parse_arguments(parser, given)

    def _parse_ckpt_path(self) -> None:
        """Nothing here, where Lightning has a checkpoint's settings replace those that
        were given: ours are compared with them, see :meth:`_check`."""

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer, and looks at the data."""
        with usage_errors():
            self._make_paths_absolute()
            molecules = MoleculeDataModule(**self._get(self.config, "data").as_dict())
            molecules.setup()
            self._fit_network_to(molecules.target)
            super().instantiate_classes()
            self.datamodule.share(molecules)
            self.datamodule.check_processes(self.trainer.world_size)
            self._check()

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
        given = self.parser.parse_args(self._given, defaults=False)
        fixed = self._get(given, "model").network.get("init_args") or Namespace()
        settings = self._get(self.config, "model").network.get("init_args") or {}
        for name, value in chosen.items():
            if name in settings and fixed.get(name, "auto") == "auto":
                settings[name] = value

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
            raise ValueError("trainer.limit_test_batches leaves no test molecules")
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
        ema, patience = (self._get(self.config, key) for key in ("ema", "patience"))
        if fit:
            callbacks += [] if ema is None else [EMA(ema)]
            callbacks += trainer_parts.early_stopping(patience)
            if not trial and config.get("enable_checkpointing") is not False:
                self._best, self._last = trainer_parts.checkpoints(self.folder)
                callbacks += [self._best, self._last]
            if config.get("logger") in (None, True):
                kwargs["logger"] = trainer_parts.loggers(self.folder)
        else:
            kwargs["logger"] = False
            kwargs["enable_checkpointing"] = False
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
        self.progress.unit = self.datamodule.target.unit
        size = sum(p.numel() for p in self.model.network.parameters())
        device = type(self.trainer.accelerator).__name__.removesuffix("Accelerator")
        name = model_name(self.model.network)
        _say(f"data     {self.datamodule.describe()}")
        _say(f"model    {name}, {size:,} parameters, {device}")
        _say(f"folder   {self.folder}")

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
        assert self.report.predictions is not None
        self.run = Run(
            self.folder,
            Path(best) if best else None,
            self.report.predictions,
            self.report.history,
            self.report.files,
            self.report.epoch_seconds,
        )
        self._say_best(early)
        if self.table:
            _say("\n" + error_table([self.run.predictions]) + "\n")
        for file in self.run.files:
            _say(f"wrote    {file}")
        if self.run.checkpoint is not None:
            _say(f"checkpoint {self.run.checkpoint}, figures in {self.folder}")

    def _say_best(self, early: bool) -> None:
        """Which epoch is tested, and whether the run stopped early."""
        if self.run is None or self.run.checkpoint is None:
            return
        epoch = self.report.loaded_epoch
        errors = [row[2] for row in self.run.history if row[0] == epoch]
        error = "".join(f", val MAE {e:.4g} {self.run.target.unit}" for e in errors)
        patience = self._get(self.config, "patience")
        stopped = f"; stopped: {patience} epochs without a better one" if early else ""
        last = self.run.history[-1][0]
        _say(f"tested   the best epoch, {epoch} of {last}{error}{stopped}")

    def validate(self, model: MoleculeModule, **kwargs: Any) -> None:
        """Shows the validation errors with their units."""
        self.trainer.validate(model, **{**kwargs, "verbose": False})
        target, number = self.datamodule.target, len(self.datamodule.parts[1])
        _say(f"{target.name}, {number} validation molecules")
        found = self.trainer.callback_metrics
        _say(f"MAE {found['val/mae']:.4g} {target.unit}")
        if "val/force_mae" in found:
            _say(f"FORCE MAE {found['val/force_mae']:.4g} {target.unit}/Å")

    def test(self, model: MoleculeModule, **kwargs: Any) -> None:
        """Shows the test errors as the table of a run."""
        self.trainer.test(model, **{**kwargs, "verbose": False})
        assert self.report.predictions is not None
        _say(error_table([self.report.predictions]))

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
def _say(text: str) -> None:
    print(text, flush=True)
