"""Short names of networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lieconv_pyg.datasets import find_name

_OPTION = "--model.network"


def long_names(args: Sequence[str], networks: Mapping[str, str]) -> list[str]:
    r"""Arguments with the class of a network for its short name. A way of pooling that
    another network had in a configuration does not go over to it.

    Raises:
        ValueError: If a short name does not exist.
    """
    found: list[str] = []
    before = ""
    for arg in args:
        option, _, name = arg.partition("=")
        if before == _OPTION:  # it stands apart from its value
            option, name = found.pop(), arg
        if option == _OPTION and re.fullmatch("[a-z][a-z0-9_-]*", name):
            name = find_name(name, networks, "network")
        if option == _OPTION and name in networks:
            found.append(f"{option}={networks[name]}")
            if name in ("graph_net", "egnn"):
                found.append(f"{option}.init_args.pool=auto")
        elif before == _OPTION:
            found += [option, arg]
        else:
            found.append(arg)
        before = arg
    return found
