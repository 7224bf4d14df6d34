"""The entry points: the command, and ``fit`` from Python."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lieconv_pyg.cli import predict
from lieconv_pyg.cli.errors import RunError, UsageError, usage_errors
from lieconv_pyg.cli.lightning_cli import Run
from lieconv_pyg.cli.tasks import start
from lieconv_pyg.training import quiet


def fit(args: Sequence[str], table: bool = True) -> Run:
    r"""Runs ``lieconv fit`` from Python.

    Args:
        args (sequence of str): What would follow ``lieconv fit``.
        table (bool, optional): Whether to print the errors. (default: :obj:`True`)

    Raises:
        UsageError: If something is wrong with the arguments or the data.
        RunError: If the run had to stop.
    """
    with quiet():
        cli = start(["fit", *args], table)
    assert cli.run is not None
    return cli.run


def _predict(args: Sequence[str]) -> None:
    """Runs ``lieconv predict``, which needs no data module and no trainer."""
    with usage_errors():
        predict.main(args)


def main(args: Sequence[str] | None = None) -> int:
    r"""The command ``lieconv``.

    Args:
        args (sequence of str, optional): The arguments; by default those of the
            command line.

    Returns:
        0; 2 where the arguments or the data are wrong, and nothing is left behind; 1
        where a run had to stop. One line on standard error says why.
    """
    try:
        with quiet():
            given = list(sys.argv[1:] if args is None else args)
            if given[:1] == ["predict"]:
                _predict(given[1:])
            else:
                start(given)
    except (UsageError, RunError) as error:
        print(f"lieconv: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        if stop.code != 1:
            raise
        return _interrupted()  # Lightning's way to say so
    return 0


def _interrupted() -> int:
    print("lieconv: interrupted; --ckpt_path last goes on", file=sys.stderr)
    return 130
