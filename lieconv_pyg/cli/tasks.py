"""What there is to train."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import Trainer

from lieconv_pyg.cli.checkpoint import with_checkpoint
from lieconv_pyg.cli.discovery import DiscoveryCLI
from lieconv_pyg.cli.dynamics import DynamicsCLI
from lieconv_pyg.cli.errors import UsageError, usage_errors
from lieconv_pyg.cli.images import ImageCLI
from lieconv_pyg.cli.jets import JetCLI
from lieconv_pyg.cli.lightning_cli import COMMANDS, LieConvCLI
from lieconv_pyg.cli.molecules import MoleculeCLI
from lieconv_pyg.datasets import find_name

TASKS: dict[str, type[LieConvCLI]] = {
    cli.task: cli for cli in (MoleculeCLI, DynamicsCLI, ImageCLI, JetCLI, DiscoveryCLI)
}


def start(args: Sequence[str], table: bool = True) -> LieConvCLI:
    """Runs a command, with the configuration of a checkpoint where there is no
    other."""
    given, goes_on = list(args), False
    with usage_errors():
        if given and given[0] in COMMANDS:
            given, goes_on = with_checkpoint(given)
        task = find_name(task_of(given), TASKS, "task")
    try:
        return TASKS[task](given, goes_on, table)
    except ArgumentError as error:
        raise UsageError(f"{error}{_hint(str(error), TASKS[task])}") from error


def _hint(message: str, cli: type[LieConvCLI]) -> str:
    """What might have been meant."""
    if "fit.model.network" in message:
        return f". There is: {', '.join(cli.networks)}, or the path of a class"
    unknown = re.search(r"unrecognized arguments: --([\w.]+)", message)
    if unknown is None:
        return ""
    parts = {"data": cli.data_class, "model": cli.module_class, "trainer": Trainer}
    options = [
        f"{k}.{name}" for k, c in parts.items() for name in signature(c).parameters
    ]
    near = difflib.get_close_matches(unknown[1], options, 1, 0.8)
    return f". Did you mean --{near[0]}?" if near else ""


def task_of(args: Sequence[str]) -> str:
    r"""The task that arguments name, themselves or by a configuration.

    Raises:
        ValueError: If the configuration is of another task than is asked for.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task")
    parser.add_argument("-c", "--config", action="append", default=[])
    known, _ = parser.parse_known_args(list(args))
    configs = [found for config in known.config if (found := _read(config)) is not None]
    tasks = [str(config["task"]) for config in configs if config.get("task")]
    there = tasks[-1] if tasks else MoleculeCLI.task
    if known.task is not None and configs and known.task != there:
        raise ValueError(f"task: the configuration is of {there}, not {known.task}")
    return known.task or there


def _read(config: str) -> dict[str, Any] | None:
    """A configuration, which is the name of a file or a text. What is wrong with it is
    said where it is read."""
    try:
        found = yaml.safe_load(config)
        if not isinstance(found, dict):
            found = yaml.safe_load(Path(config).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) else None
