"""What there is to train."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from lieconv_pyg.cli.checkpoint import with_checkpoint
from lieconv_pyg.cli.dynamics import DynamicsCLI
from lieconv_pyg.cli.errors import usage_errors
from lieconv_pyg.cli.lightning_cli import COMMANDS, LieConvCLI
from lieconv_pyg.cli.molecules import MoleculeCLI
from lieconv_pyg.datasets import find_name

TASKS: dict[str, type[LieConvCLI]] = {
    cli.task: cli for cli in (MoleculeCLI, DynamicsCLI)
}


def start(args: Sequence[str], table: bool = True) -> LieConvCLI:
    """Runs a command, with the configuration of a checkpoint where there is no
    other."""
    given, goes_on = list(args), False
    with usage_errors():
        if given and given[0] in COMMANDS:
            given, goes_on = with_checkpoint(given)
        task = find_name(task_of(given), TASKS, "task")
    return TASKS[task](given, goes_on, table)


def task_of(args: Sequence[str]) -> str:
    """The task that arguments name, themselves or by a configuration."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--task")
    parser.add_argument("-c", "--config", action="append", default=[])
    known, _ = parser.parse_known_args(list(args))
    if known.task is not None:
        return known.task
    for config in reversed(known.config):
        task = _task_in(config)
        if task is not None:
            return task
    return MoleculeCLI.task


def _task_in(config: str) -> str | None:
    """The task of a configuration, which is the name of a file or a text. What is wrong
    with it is said where it is read."""
    try:
        path = Path(config)
        found = yaml.safe_load(path.read_text() if path.is_file() else config)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    task = found.get("task") if isinstance(found, dict) else None
    return None if task is None else str(task)
