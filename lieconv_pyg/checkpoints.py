r"""Checkpoints: what is in them, and models from them.

A checkpoint of a run holds, besides what Lightning puts there, the version of this
package, the target, and the configuration of the run. It is read with
:obj:`weights_only=True`, and the classes that its configuration names are looked up
in a few packages only: reading it runs no code that it brings.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lieconv_pyg.groups import LieGroup

if TYPE_CHECKING:
    from lieconv_pyg.datasets import Target
    from lieconv_pyg.training import MoleculeModule
    from lieconv_pyg.training.base import NetworkModule

#: Counts the changes after which older checkpoints cannot be read.
FORMAT = 2
#: Where the classes of a checkpoint's configuration may be defined: layers, networks
#: and groups that run nothing but their arithmetic.
TRUSTED = (
    "lieconv_pyg",
    "torch.nn.modules",
    "torch_geometric.nn.dense",
    "torch_geometric.nn.models",
    "torch_geometric.nn.norm",
)


def stamp(checkpoint: dict[str, Any], task: str, target: Target | None = None) -> None:
    """Adds the version of the package, what was trained, and the target to a
    checkpoint."""
    from lieconv_pyg import __version__

    made = {"version": __version__, "format": FORMAT, "task": task}
    checkpoint["lieconv_pyg"] = made
    if target is not None:
        names = ("name", "unit", "extensive", "description", "num_components")
        checkpoint["target"] = {name: getattr(target, name) for name in names}


def target_of(checkpoint: Mapping[str, Any], wanted: Target | None) -> Target | None:
    r"""The target of a checkpoint, if it has one.

    Raises:
        ValueError: If it has another name or unit than the one that is wanted.
    """
    from lieconv_pyg.datasets import Target

    if "target" not in checkpoint:
        return None
    target = Target(**checkpoint["target"])
    if wanted and (wanted.name, wanted.unit) != (target.name, target.unit):
        raise ValueError(
            f"the checkpoint is for the target {target.label}, the data have "
            f"{wanted.label}: set data.target to the checkpoint's"
        )
    return target


def read_file(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    r"""Reads what a training run has saved, never more than tensors and plain values.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a whole checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        hint = ", it is a folder: name its checkpoints/best.ckpt"
        hint = hint if path.is_dir() else ""
        raise FileNotFoundError(f"checkpoint: there is no file {path}{hint}")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # pickle, zip, torch and a cut file raise all kinds
        text = (str(error).strip() or type(error).__name__).splitlines()[0]
        if text.startswith("Weights only load failed"):
            text = "it is cut off, or holds more than tensors and plain values"
        raise ValueError(f"{path} is not a whole checkpoint ({text})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path} is not a checkpoint of a training run")
    return checkpoint


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    r"""Reads a checkpoint of this package.

    Args:
        path (path): The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a whole checkpoint of a version that this one reads.
    """
    from lieconv_pyg import __version__

    checkpoint = read_file(path)
    made = checkpoint.get("lieconv_pyg")
    if not isinstance(made, dict) or not {"format", "version"} <= made.keys():
        raise ValueError(f"{path} is not a checkpoint of lieconv_pyg")
    if made["format"] != FORMAT:
        raise ValueError(
            f"{path} was written by lieconv_pyg {made['version']} in format "
            f"{made['format']}; this is {__version__}, which reads format {FORMAT}: "
            "use the version that wrote it, or train again"
        )
    if made["version"] != __version__:
        warnings.warn(
            f"{path} was written by lieconv_pyg {made['version']}, "
            f"this is {__version__}",
            UserWarning,
            stacklevel=2,
        )
    return checkpoint


def load(
    path: str | os.PathLike,
    device: Any = "cpu",
    trust: Sequence[str] = (),
    network: torch.nn.Module | None = None,
) -> Any:
    r"""The trained model of a checkpoint, in evaluation mode: a
    :class:`~lieconv_pyg.training.MoleculeModule`, a
    :class:`~lieconv_pyg.training.DynamicsModule`, an
    :class:`~lieconv_pyg.training.ImageModule` or a
    :class:`~lieconv_pyg.training.JetModule`.

    .. code-block:: python

        model = lieconv_pyg.load("runs/homo/checkpoints/best.ckpt")
        values = model(z, pos, batch)  # (B), in model.target.unit

        model = lieconv_pyg.load("runs/springs/checkpoints/best.ckpt")
        velocity, force = model.network(x, pos, momentum, batch)

        model = lieconv_pyg.load("runs/digits/checkpoints/best.ckpt")
        probability = model(x, pos, batch)  # (B, 10)

        model = lieconv_pyg.load("runs/jets/checkpoints/best.ckpt")
        probability = model(pos, batch)  # (B, 2)

    Args:
        path (path): The checkpoint of a run.
        device (optional): Where the model goes. (default: :obj:`"cpu"`)
        trust (sequence of str, optional): Packages of your own whose classes the
            checkpoint's configuration may name. (default: :obj:`()`)
        network (torch.nn.Module, optional): The network, for checkpoints of runs that
            were not made by the command line. (default: built from the checkpoint)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a checkpoint that this version reads, names classes
            of other packages, or does not fit :obj:`network`.
    """
    checkpoint = read_checkpoint(path)
    settings = dict(checkpoint.get("hyper_parameters", {}))
    for name in ("_instantiator", "compile"):
        settings.pop(name, None)
    config = settings.pop("network", None)
    if network is None:
        if config is None:
            raise ValueError(
                f"{path} does not say what its network is, since that was built in "
                "Python: give it as 'network'"
            )
        check_trusted(config, trust, str(path))
        network = build(config)
    task = checkpoint["lieconv_pyg"].get("task", "molecules")
    module: Any = _modules()[task](network, **settings)
    load_weights(module, checkpoint["state_dict"], str(path))
    if task == "molecules":
        module.target = target_of(checkpoint, None)
    return module.to(device).eval()


def _modules() -> dict[str, type[NetworkModule]]:
    """What trains each task."""
    from lieconv_pyg.training import (
        DynamicsModule,
        ImageModule,
        JetModule,
        MoleculeModule,
    )

    return {
        "molecules": MoleculeModule,
        "dynamics": DynamicsModule,
        "images": ImageModule,
        "jets": JetModule,
    }


def load_molecules(
    path: str | os.PathLike, device: Any = "cpu", trust: Sequence[str] = ()
) -> MoleculeModule:
    r"""What :func:`load` gives, for molecules.

    Raises:
        FileNotFoundError, ValueError: As there.
        ValueError: If it is a model of something else.
    """
    model = load(path, device, trust)
    for task, cls in _modules().items():
        if isinstance(model, cls) and task != "molecules":
            raise ValueError(f"{path} is of {task}, and not of molecules")
    return model


def load_weights(
    module: torch.nn.Module, state_dict: Mapping[str, Any], source: str
) -> None:
    r"""Loads weights.

    Raises:
        ValueError: With what differs, if they do not fit; the module is then as it was.
    """
    ours = module.state_dict()
    sizes = {
        name: (tuple(state_dict[name].shape), tuple(ours[name].shape))
        for name in ours.keys() & state_dict.keys()
        if isinstance(ours[name], torch.Tensor)  # and not a state of another kind
    }
    shapes = [
        f"{name} is {there} there, {here} here"
        for name, (there, here) in sorted(sizes.items())
        if there != here
    ]
    for what, names in (
        ("it has other shapes:", shapes),
        ("it lacks", [name for name in ours if name not in state_dict]),
        ("this network lacks its", [name for name in state_dict if name not in ours]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"{source} is of another network: {what} {', '.join(names[:3])}{more}"
            )
    module.load_state_dict(state_dict)


def build(config: Any) -> Any:
    r"""Makes what a configuration says: mappings with :obj:`class_path` and
    :obj:`init_args` become objects, all else remains as it is.

    Raises:
        ValueError: If a class is not a network, a layer or a group.
    """
    if isinstance(config, Mapping) and "class_path" in config:
        module, _, name = config["class_path"].rpartition(".")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"there is no class {config['class_path']}") from error
        if not (isinstance(cls, type) and issubclass(cls, (torch.nn.Module, LieGroup))):
            raise ValueError(f"{config['class_path']} is neither a module nor a group")
        return cls(**build(dict(config.get("init_args") or {})))
    if isinstance(config, Mapping):
        return {key: build(value) for key, value in config.items()}
    if isinstance(config, list):
        return [build(value) for value in config]
    return config


def check_trusted(config: Any, trust: Sequence[str], source: str) -> None:
    r"""Checks that a configuration names nothing but layers, networks and groups that
    are defined in the packages :data:`TRUSTED`, and what is of the packages
    :obj:`trust`.

    Raises:
        ValueError: If it does.
    """
    for name in importable(config):
        if not (within(name, trust) or _is_trusted(name)):
            raise ValueError(
                f"{source} names {name}, which is no layer, network or group of "
                f"{', '.join(TRUSTED)}: if you know where the checkpoint comes from, "
                f"trust {name.split('.')[0]!r}"
            )


def importable(config: Any) -> Iterator[str]:
    """What a configuration could have read in: class paths, dotted names, files."""
    if isinstance(config, Mapping):
        if "class_path" in config:
            yield str(config["class_path"])
        for key, value in config.items():
            if key != "class_path":
                yield from importable(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from importable(value)
    elif isinstance(config, str) and re.search(r"\W", config):  # no plain word
        dotted = re.fullmatch(r"\w+(\.\w+)+", config)
        yield from [config] if dotted or os.path.isfile(config) else []


def within(name: str, packages: Sequence[str]) -> bool:
    """Whether a dotted name is one of these packages or inside of one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def _is_trusted(name: str) -> bool:
    """Whether a name is that of a module or group which is defined, and not only
    imported, in a trusted package."""
    if not within(name, [package.split(".")[0] for package in TRUSTED]):
        return False
    parent, _, last = name.rpartition(".")
    try:
        cls = getattr(importlib.import_module(parent), last)
    except (ImportError, AttributeError, ValueError):
        return False
    is_part = isinstance(cls, type) and issubclass(cls, (torch.nn.Module, LieGroup))
    return is_part and within(cls.__module__, TRUSTED)


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs between two configurations, a line each."""
    both = isinstance(there, Mapping) and isinstance(here, Mapping)
    if both and there.get("class_path") == here.get("class_path"):
        found = []
        for key in {**there, **here}:
            path = f"{name}.{key}" if name else str(key)
            found += differences(there.get(key), here.get(key), path)
        return found
    if there == here:
        return []
    return [f"{name}: {_short(there)} in the checkpoint, {_short(here)} here"]


def _short(value: Any) -> str:
    """A value of a configuration; of an object its class."""
    return str(value.get("class_path", value) if isinstance(value, Mapping) else value)
