"""``lieconv predict``, which needs neither data module nor trainer."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from lieconv_pyg.predict import predict


def parser() -> ArgumentParser:
    """The parser of ``lieconv predict``."""
    made = ArgumentParser(
        prog="lieconv predict",
        description="Predicts the target of a trained model for structures in a file.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    made.add_argument(
        "-c", "--config", action="config", help="A file of these options."
    )
    made.add_function_arguments(predict)
    return made


def main(args: Sequence[str]) -> None:
    r"""Runs ``lieconv predict``.

    Args:
        args (sequence of str): What follows it.
    """
    settings = parser().parse_args(list(args)).as_dict()
    settings.pop("config", None)
    for file in predict(**settings):
        print(f"wrote    {file}", flush=True)
