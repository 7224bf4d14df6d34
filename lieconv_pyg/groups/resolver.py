"""Groups by name."""

from __future__ import annotations

import re
from typing import Any

from lieconv_pyg.groups.base import LieGroup
from lieconv_pyg.groups.galilei import Galilei
from lieconv_pyg.groups.lorentz import Lorentz
from lieconv_pyg.groups.planar import SO2, Rx, RxSO2
from lieconv_pyg.groups.se2 import SE2
from lieconv_pyg.groups.se3 import SE3
from lieconv_pyg.groups.sim2 import SIM2
from lieconv_pyg.groups.smooth import SmoothSO
from lieconv_pyg.groups.so3 import SO3
from lieconv_pyg.groups.squeeze import SQ, RxSQ
from lieconv_pyg.groups.translation import T, Tx, Ty
from lieconv_pyg.groups.trivial import Trivial

_FIXED = (SO2, RxSO2, Rx, SQ, RxSQ, SE2, SIM2, SO3, SE3, Lorentz)
_OF_DIMENSION = (Trivial, T, Tx, Ty, Galilei, SmoothSO)


def group_resolver(query: str | type | LieGroup, **kwargs: Any) -> LieGroup:
    r"""A group from its name.

    .. code-block:: python

        group_resolver("SE3", alpha=0.1)
        group_resolver("T(3)")  # also "T3", or "T" with n=3

    Args:
        query (str, type or LieGroup): The name of a group of this package, with or
            without parentheses and in any case; a class; or a group, which is returned
            as it is.
        **kwargs (optional): Arguments of the group.

    Raises:
        ValueError: If no group has this name, or if :obj:`kwargs` are given with a
            group.
        TypeError: If :obj:`query` is of another type, or if the group does not take
            these arguments.
    """
    if isinstance(query, LieGroup):
        if kwargs:
            raise ValueError(
                f"`kwargs` {sorted(kwargs)} cannot be used with a group that is made "
                f"already: {query!r}"
            )
        return query
    if isinstance(query, type) and issubclass(query, LieGroup):
        return query(**kwargs)
    if not isinstance(query, str):
        raise TypeError(
            f"`group` must be a name, a class or a LieGroup, got {type(query).__name__}"
        )
    name = re.sub(r"[()\s]", "", query).lower()
    for fixed in _FIXED:
        if name == fixed.__name__.lower():
            return fixed(**kwargs)
    for cls in _OF_DIMENSION:
        match = re.fullmatch(cls.__name__.lower() + r"(\d*)", name)
        if match:
            n = {"n": int(match.group(1))} if match.group(1) else {}
            return cls(**n, **kwargs)
    names = [c.__name__ for c in _FIXED] + [f"{c.__name__}(n)" for c in _OF_DIMENSION]
    raise ValueError(f"`group` {query!r} is unknown: choose one of {', '.join(names)}")


def check_group(group: object) -> LieGroup:
    r"""Returns the group if it is one, else raises a :class:`TypeError`."""
    if not isinstance(group, LieGroup):
        raise TypeError(
            f"'group' must be a LieGroup, for example SE3() or group_resolver('SE3'), "
            f"got {group!r}"
        )
    return group
