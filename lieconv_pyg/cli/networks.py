"""Short names of networks."""

from __future__ import annotations

from collections.abc import Sequence

#: For ``--model.network``.
NETWORKS = {
    "lieconv": "lieconv_pyg.nn.MoleculeLieResNet",
    "graph_net": "lieconv_pyg.nn.graph_net.GraphNet",
    "egnn": "lieconv_pyg.nn.EGNN",
    "schnet": "lieconv_pyg.nn.pyg_models.SchNet",
    "dimenet": "lieconv_pyg.nn.pyg_models.DimeNetPlusPlus",
}


def long_names(args: Sequence[str]) -> list[str]:
    """Arguments with the class of a network for its short name. A way of pooling that
    another network had in a configuration does not go over to it."""
    option = "--model.network"
    found: list[str] = []
    for arg in "\0".join(args).replace(f"{option}\0", f"{option}=").split("\0"):
        name = arg.removeprefix(f"{option}=")
        if arg == name or name not in NETWORKS:
            found.append(arg)
            continue
        found.append(f"{option}={NETWORKS[name]}")
        if name in ("graph_net", "egnn"):
            found.append(f"{option}.init_args.pool=auto")
    return found
