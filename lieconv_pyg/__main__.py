"""The command ``lieconv``, also as ``python -m lieconv_pyg``."""

import sys

from lieconv_pyg.memory import keep_memory


def main() -> int:
    """Runs the command, or says what it needs to run."""
    try:
        from lieconv_pyg import cli
    except ModuleNotFoundError as error:
        print(
            f"lieconv: error: {error.name} is not installed. The command needs the "
            "extra 'molecules': pip install 'lieconv_pyg[molecules]'",
            file=sys.stderr,
        )
        return 2
    keep_memory()
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
