"""What the command line does with the checkpoint that it is given: finding it, running
with its configuration, and saying what differs from it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lieconv_pyg.checkpoints import (
    check_trusted,
    differences,
    importable,
    read_checkpoint,
    target_of,
    within,
)
from lieconv_pyg.training.base import SplitDataModule

#: Settings of the data that say where it is or what is shown of it, not what it is.
_WHERE = {"dataset", "root", "download", "num_rollouts"}


def with_checkpoint(args: Sequence[str]) -> tuple[list[str], bool]:
    r"""Arguments in which ``--ckpt_path last`` (or ``best``) is a path, and which have
    the checkpoint's configuration where they name no other.

    Returns:
        The arguments, and whether they go on with a run.

    Raises:
        ValueError: If ``last`` or ``best`` comes without ``--output``, if the
            checkpoint cannot be read, or names classes that are not trusted.
        FileNotFoundError: If there is no such checkpoint.
    """
    command, rest = args[0], list(args[1:])
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--ckpt_path", "--output", "--trust"):
        parser.add_argument(name)
    parser.add_argument("-c", "--config", action="append")
    known, others = parser.parse_known_args(rest)
    asks = any(arg.startswith(("-h", "--help", "--print_config")) for arg in others)
    if known.ckpt_path in (None, "null") or asks:
        if command != "fit" and not asks:
            raise ValueError(f"{command} needs a checkpoint: give --ckpt_path")
        return [command, *rest], False
    path = _resolve(command, known.ckpt_path, known.output)
    given = _without("--ckpt_path", rest)
    if path is not None:
        given.append(f"--ckpt_path={path}")
    if known.config:
        return [command, *given], True
    if path is None:
        return [command, f"--config={Path(known.output, 'config.yaml')}", *given], True
    trust = [] if known.trust is None else yaml.safe_load(known.trust)
    config = _configuration(path, trust if isinstance(trust, list) else [trust])
    if command != "fit":
        config = {
            key: config[key] for key in ("task", "model", "data") if key in config
        }
    return [command, f"--config={yaml.safe_dump(config)}", *given], True


def _without(option: str, args: Sequence[str]) -> list[str]:
    """The arguments without an option and its value."""
    found: list[str] = []
    before = ""
    for arg in args:
        if option not in (arg, before) and not arg.startswith(f"{option}="):
            found.append(arg)
        before = arg
    return found


def _resolve(command: str, name: str, output: str | None) -> Path | None:
    """The path of a checkpoint; nothing where a run has not made its first."""
    if name not in ("last", "best"):
        return Path(name)
    if output is None:
        raise ValueError(f"ckpt_path {name} needs the folder of the run as output")
    path = Path(output, "checkpoints", f"{name}.ckpt")
    if path.is_file():
        return path
    if name == "last" and command == "fit" and Path(output, "config.yaml").is_file():
        print(f"{output} has no checkpoint yet: from the beginning", file=sys.stderr)
        return None
    raise FileNotFoundError(f"ckpt_path: there is no file {path}")


def _configuration(path: Path, trust: Sequence[str]) -> dict[str, Any]:
    """The configuration of the run that made a checkpoint."""
    config = read_checkpoint(path).get("config")
    if config is None:
        raise ValueError(f"{path} has no configuration: name one by config")
    objects = [value for value in config["data"].values() if isinstance(value, dict)]
    check_trusted([config["model"], objects], trust, str(path))
    trainer = {k: v for k, v in config["trainer"].items() if k != "default_root_dir"}
    for name in importable(trainer):
        if not within(name, trust):
            raise ValueError(
                f"{path} names {name} for the trainer, which is not taken from a "
                "checkpoint: give the run's config.yaml as config, or trust "
                f"{name.split('.')[0]!r}"
            )
    return {k: v for k, v in config.items() if k not in ("ckpt_path", "output")}


def _weighted(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network's configuration without what it is evaluated with."""
    settings = dict(network.get("init_args") or {})
    settings.pop("num_samples", None)
    return {**network, "init_args": settings}


def check_same(
    command: str, path: Path, config: Mapping[str, Any], data_module: SplitDataModule
) -> None:
    r"""Compares a checkpoint's configuration with the one that is about to run.

    Raises:
        ValueError: With what differs: in the task, the network or the target, or, where
            the run goes on, in the data, the rest of the model or its averages. Or if
            the run that goes on is over.
    """
    checkpoint = read_checkpoint(path)
    there = checkpoint.get("config")
    if there is None:
        return
    tasks = [c.get("task", "molecules") for c in (there, config)]
    if tasks[0] != tasks[1]:
        raise ValueError(f"{path} is of {tasks[0]}, this is to train {tasks[1]}")
    # An option that there was none of when it was made has its default here.
    model = [
        {key: c["model"][key] for key in there["model"] if key in c["model"]}
        for c in (config, there)
    ]
    data = [
        {key: c["data"].get(key) for key in there["data"] if key not in _WHERE}
        for c in (config, there)
    ]
    if command != "fit":
        model = [{"network": _weighted(m["network"])} for m in model]
    found = differences(model[1], model[0], "model")
    if command != "fit":  # how data become points belongs to the network
        kept = ("unit",) if tasks[1] == "jets" else ("crop", "spacing")
        points = [{k: d.get(k) for k in kept} for d in data]
        found += differences(points[1], points[0], "data")
    elsewhere = differences(data[1], data[0], "data")
    name = type(data_module).__qualname__
    print_there = checkpoint.get(name, {}).get("fingerprint")
    same = data[0].get("target") == data[1].get("target")
    if print_there != data_module.fingerprint and same:
        names = [data_module.name_in(c["data"]) for c in (there, config)]
        what = data_module.examples
        elsewhere.append(f"the {what} of {names[0]} are not those of {names[1]}")
    if command == "fit":
        found += elsewhere + differences(there.get("ema"), config.get("ema"), "ema")
        last = config["trainer"]["max_epochs"]
        lost = checkpoint.get("restarts", {}).get("began", 0)  # of discovery
        epochs = checkpoint["epoch"] + 1 - lost
        if last not in (None, -1) and epochs > last:
            found.append(f"it has had {epochs} epochs, trainer.max_epochs is {last}")
    if found:
        raise ValueError(
            f"{path} is of another run: {'; '.join(found)}. Leave config out to take "
            "the checkpoint's, or start anew without ckpt_path"
        )
    target_of(checkpoint, getattr(data_module, "target", None))
    if elsewhere:
        note = f"not the data of the checkpoint's run: {'; '.join(elsewhere)}"
        print(f"lieconv: note: {note}", file=sys.stderr)
