"""What can go wrong, in the words of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jsonargparse import ArgumentError


class _OneLine(Exception):
    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))


class UsageError(_OneLine):
    """Something that the user can put right; the message says how, in one line."""


class RunError(_OneLine):
    """What stopped a run that had begun, in one line."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turns what libraries raise for wrong arguments into :class:`UsageError`."""
    try:
        yield
    except UsageError:
        raise
    except (ArgumentError, ValueError, TypeError, OSError, ImportError) as error:
        raise UsageError(error) from error
    except Exception as error:
        # Lightning's own complaints about the trainer's arguments.
        if type(error).__name__ == "MisconfigurationException":
            raise UsageError(error) from error
        raise
