"""scripts/setup.sh and the Makefile: finding a Python, and saying what is missing.

Nothing is installed here: the Pythons are shell scripts.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FAKE_PYTHON = """#!/bin/bash
# {name}: Python {version}
case "$*" in
    *sys.version_info*) echo {version} ;;
    *ensurepip*) exit {without_venv} ;;
    "-m venv --clear "*)
        mkdir -p "$4/bin" && touch "$4/pyvenv.cfg"
        cp "$0" "$4/bin/python" ;;
    "-m pip --version") exit {without_pip} ;;
    scripts/install.py) echo "installing with {name}" ;;
    *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


class Machine:
    """A folder with the scripts, and a PATH on which only chosen Pythons are."""

    def __init__(self, path: Path) -> None:
        self.project, self.bin = path / "project", path / "bin"
        shutil.copytree(ROOT / "scripts", self.project / "scripts")
        self.bin.mkdir()
        for tool in ("bash", "cp", "dirname", "ls", "mkdir", "touch"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def python(self, name, version, *, venv=True, pip=True, folder=None):
        path = (folder or self.bin) / name
        fields = {"without_venv": int(not venv), "without_pip": int(not pip)}
        path.write_text(FAKE_PYTHON.format(name=name, version=version, **fields))
        path.chmod(0o755)
        return path

    def venv(self, version, **kwargs):
        (self.project / ".venv/bin").mkdir(parents=True)
        (self.project / ".venv/pyvenv.cfg").touch()
        self.python("python", version, folder=self.project / ".venv/bin", **kwargs)

    def setup(self, **environment):
        return subprocess.run(
            ["bash", "scripts/setup.sh"],
            cwd=self.project,
            env={"PATH": str(self.bin), **environment},
            capture_output=True,
            text=True,
        )


@pytest.fixture
def machine(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    return Machine(tmp_path)


def test_takes_python3_when_it_is_suitable(machine):
    machine.python("python3", "3.11")
    machine.python("python3.13", "3.13")
    run = machine.setup()
    assert run.returncode == 0, run.stderr
    assert "making .venv with Python 3.11" in run.stdout
    assert "installing with python3\n" in run.stdout


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.14"])
def test_takes_the_newest_suitable_python_otherwise(machine, version):
    machine.python("python3", version)
    machine.python("python3.12", "3.12")
    machine.python("python3.10", "3.10")
    run = machine.setup()
    assert run.returncode == 0, run.stderr
    assert "installing with python3.12" in run.stdout


def test_takes_the_python_that_is_named(machine):
    machine.python("python3", "3.11")
    machine.python("other", "3.13")
    run = machine.setup(PYTHON="other")
    assert "installing with other" in run.stdout


def test_passes_over_a_python_without_venv(machine):
    machine.python("python3", "3.11", venv=False)
    machine.python("python3.10", "3.10")
    assert "installing with python3.10" in machine.setup().stdout


def test_says_that_no_python_is_there(machine):
    machine.python("python3", "3.8")
    run = machine.setup()
    assert run.returncode == 1
    assert "no Python 3.10 to 3.13 was found (python3 is 3.8)" in run.stderr
    assert "PYTHON=" in run.stderr


def test_says_that_venv_is_missing(machine):
    machine.python("python3", "3.11", venv=False)
    run = machine.setup()
    assert run.returncode == 1
    assert "python3 has no venv module" in run.stderr
    assert "python3-venv" in run.stderr


@pytest.mark.parametrize(
    ("named", "message"),
    [("absent", "does not run"), ("old", "is Python 3.9; 3.10 to 3.13 is needed")],
)
def test_says_what_is_wrong_with_the_python_named(machine, named, message):
    machine.python("python3", "3.11")
    machine.python("old", "3.9")
    run = machine.setup(PYTHON=named)
    assert run.returncode == 1
    assert message in run.stderr


def test_keeps_an_environment_that_is_whole(machine):
    machine.venv("3.12")  # and no other Python on the PATH
    run = machine.setup()
    assert run.returncode == 0, run.stderr
    assert run.stdout == "installing with python\n"


def test_makes_an_interrupted_environment_anew(machine):
    machine.python("python3", "3.11")
    machine.venv("3.11", pip=False)
    run = machine.setup()
    assert "making .venv" in run.stdout
    assert "installing with python3\n" in run.stdout


@pytest.mark.parametrize(
    ("version", "environment"), [("3.9", {}), ("3.12", {"PYTHON": "python3"})]
)
def test_makes_an_environment_of_another_python_anew(machine, version, environment):
    machine.python("python3", "3.11")
    machine.venv(version)
    assert "making .venv with Python 3.11" in machine.setup(**environment).stdout


def test_never_clears_a_folder_that_is_no_environment(machine):
    machine.python("python3", "3.11")
    kept = machine.project / ".venv/thesis.tex"
    kept.parent.mkdir()
    kept.touch()
    run = machine.setup()
    assert run.returncode == 1
    assert "is not a virtual environment" in run.stderr
    assert kept.exists()


def read(name):
    return (ROOT / name).read_text()


def test_versions_agree():
    version = re.search(r'^version = "(.*)"', read("pyproject.toml"), re.M)[1]
    assert f"\nversion: {version}\n" in read("CITATION.cff")
    import lieconv_pyg

    assert getattr(lieconv_pyg, "__version__", version) == version


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_help_lists_every_command():
    text = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = re.search(r"^\.PHONY: (.*)", read("Makefile"), re.M)[1].split()
    assert all(f"make {target} " in text for target in targets)
