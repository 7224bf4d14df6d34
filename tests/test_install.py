"""scripts/install.py: resuming, compiling, and saying what is missing.

Nothing is installed here: pip is a stub.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class StubPip:
    """Stands for pip: notes its calls, and runs a shell command in its place."""

    def __init__(self, module) -> None:
        self.module, self.calls = module, []
        self.behaviour = {}  # by log name: a shell command, or "true"

    def __call__(self, command, *arguments, log):
        self.calls.append((log, *arguments))
        path = self.module.STATE / f"{log}.log"
        script = self.behaviour.get(log, "true").format(log=path)
        for argument in arguments:
            if argument.startswith("--wheel-dir="):
                script = f"out={argument.split('=', 1)[1]}; {script}"
        return ["bash", "-c", script]

    @property
    def logs(self):
        return [log for log, *_ in self.calls]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """scripts/install.py with its folders under tmp_path and pip replaced."""
    for name in ("TORCH", "CLUSTER", "MAX_JOBS"):
        monkeypatch.delenv(name, raising=False)
    spec = importlib.util.spec_from_file_location(
        "install", ROOT / "scripts/install.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STATE", tmp_path / "state")
    monkeypatch.setattr(module, "STAMP", tmp_path / "state/stamp")
    monkeypatch.setattr(module, "COMPILED", tmp_path / "wheels")
    (tmp_path / "state").mkdir()
    module.stub = StubPip(module)
    monkeypatch.setattr(module, "pip", module.stub)
    monkeypatch.setattr(module, "cluster_works", lambda: True)
    return module


def test_second_run_does_nothing(install, capsys):
    assert install.main() == 0
    assert install.stub.logs == ["torch", "tools", "package"]
    install.stub.calls.clear()
    capsys.readouterr()
    assert install.main() == 0
    assert install.stub.calls == []
    assert capsys.readouterr().out == ""


def test_a_change_runs_it_again(install, monkeypatch):
    assert install.main() == 0
    monkeypatch.setattr(install, "TORCH", "9.9.9")
    install.stub.calls.clear()
    assert install.main() == 0
    assert "torch==9.9.9" in install.stub.calls[0]
    assert install.stub.logs == ["torch", "tools", "package"]


def test_interrupted_and_failed_runs_leave_no_finished_stamp(install, monkeypatch):
    install.stub.behaviour["package"] = "exit 1"
    assert install.main() == 1
    install.stub.behaviour.clear()
    install.stub.calls.clear()
    assert install.main() == 0
    assert "package" in install.stub.logs


def test_without_cluster_is_remembered(install, monkeypatch):
    monkeypatch.setattr(install, "cluster_works", lambda: False)
    monkeypatch.setenv("CLUSTER", "0")
    assert install.main() == 0
    assert "cluster" not in install.stub.calls[-1][-1]
    monkeypatch.delenv("CLUSTER")
    install.stub.calls.clear()
    assert install.main() == 0
    assert install.stub.calls == []
    assert install.wants_cluster() is False
    monkeypatch.setenv("CLUSTER", "1")
    assert install.wants_cluster() is True


def test_bad_choice_is_refused(install, monkeypatch, capsys):
    monkeypatch.setenv("CLUSTER", "yes")
    assert install.main() == 1
    assert "CLUSTER=yes is neither 0 nor 1" in capsys.readouterr().err


NETWORK = (
    "WARNING: Retrying (Retry(total=4)) after connection broken by"
    " NewConnectionError('Temporary failure in name resolution')"
)


def test_says_that_the_network_is_missing(install, capsys):
    install.stub.behaviour["torch"] = f'echo "{NETWORK}" > {{log}}; exit 1'
    assert install.main() == 1
    error = capsys.readouterr().err
    assert "cannot reach a package index" in error
    assert "PIP_FIND_LINKS" in error


def test_shows_what_pip_complains_about(install, capsys):
    line = "2026-01-01T00:00:00,000 ERROR: No matching distribution found for torch"
    install.stub.behaviour["torch"] = f'echo "{line}" > {{log}}; exit 1'
    assert install.main() == 1
    assert "ERROR: No matching distribution" in capsys.readouterr().err


def test_says_that_the_compiler_is_missing(install, monkeypatch, capsys):
    monkeypatch.setattr(install, "cluster_works", lambda: False)
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    assert install.main() == 1
    error = capsys.readouterr().err
    assert "no C++ compiler was found" in error
    assert "make demo CLUSTER=0" in error


def test_says_that_the_headers_are_missing(install, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(install, "cluster_works", lambda: False)
    monkeypatch.setattr(install.shutil, "which", lambda name: "/usr/bin/c++")
    paths = {"include": str(tmp_path)}
    monkeypatch.setattr(install.sysconfig, "get_paths", lambda: paths)
    assert install.main() == 1
    error = capsys.readouterr().err
    assert "Python.h is missing" in error
    assert "python3-dev" in error


WHEEL = f"{{name}}-{{version}}-cp{sys.version_info[0]}{sys.version_info[1]}-test.whl"


def make_wheel(install, name, before=""):
    wheel = WHEEL.format(name=name.replace("-", "_"), version=install.CLUSTER[name])
    return f'{before} mkdir -p "$out" && touch "$out/{wheel}"'


@pytest.fixture
def compiling(install, monkeypatch):
    """No wheels at hand, a compiler, and builds that take no time."""
    monkeypatch.setattr(install, "check_compiler", lambda: None)
    monkeypatch.setattr(install, "cluster_works", lambda: all(install.built_here()))
    monkeypatch.setattr(
        install, "built_here", lambda: map(install.built, install.CLUSTER), False
    )
    for name in install.CLUSTER:
        install.stub.behaviour[name] = make_wheel(install, name)
    return install


def test_compiles_both_once(compiling, capsys):
    assert compiling.main() == 0
    assert "a quarter of an hour, once" in capsys.readouterr().out
    assert {"torch-scatter", "torch-cluster"} <= set(compiling.stub.logs)
    assert not list(compiling.COMPILED.glob(".*"))
    compiling.STAMP.unlink()
    compiling.stub.calls.clear()
    assert compiling.main() == 0
    assert "torch-scatter" not in compiling.stub.logs


def test_a_failed_build_ends_the_other_and_keeps_what_is_done(compiling, capsys):
    log = compiling.STATE / "torch-cluster.log"
    compiling.stub.behaviour["torch-cluster"] = (
        f'sleep 0.6; echo "2026 ERROR: out of memory" > {log}; exit 1'
    )
    assert compiling.main() == 1
    error = capsys.readouterr().err
    assert "torch-cluster could not be compiled" in error
    assert "out of memory" in error
    assert "make demo CLUSTER=0" in error
    assert compiling.built("torch-scatter")

    compiling.stub.behaviour["torch-cluster"] = make_wheel(compiling, "torch-cluster")
    compiling.stub.calls.clear()
    assert compiling.main() == 0
    assert "torch-cluster" in compiling.stub.logs
    assert "torch-scatter" not in compiling.stub.logs


def test_wheels_for_another_torch_are_compiled_anew(compiling, monkeypatch):
    compiling.COMPILED.mkdir()
    for name in compiling.CLUSTER:
        version = compiling.CLUSTER[name]
        stale = WHEEL.format(name=name.replace("-", "_"), version=version)
        (compiling.COMPILED / stale).write_text("stale")

    def works():
        wheels = [w for found in compiling.built_here() for w in found]
        return len(wheels) == 2 and all(w.read_text() != "stale" for w in wheels)

    monkeypatch.setattr(compiling, "cluster_works", works)
    assert compiling.main() == 0
    assert works()


def alive(pid):
    """Whether a process runs; one that ended and waits to be collected does not."""
    state = subprocess.run(["ps", "-o", "stat=", str(pid)], capture_output=True)
    return state.stdout.strip()[:1] not in (b"", b"Z")


@pytest.mark.skipif(shutil.which("ps") is None, reason="no ps")
def test_ending_the_builds_ends_their_compilers(install, tmp_path):
    pid = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid}; wait"
    build = subprocess.Popen(["bash", "-c", script], start_new_session=True)
    while not (pid.exists() and pid.read_text().strip()):
        time.sleep(0.01)
    install.end([build], patience=0.5)
    assert build.poll() is not None
    assert not alive(int(pid.read_text()))


def test_jobs_are_at_least_one(install):
    assert 1 <= install.jobs_for_each() <= (os.cpu_count() or 2)


def test_pins_meet_the_lower_bounds(install):
    text = (ROOT / "pyproject.toml").read_text()
    for name, pin in {**install.CLUSTER, "torch": install.TORCH}.items():
        bound = re.search(rf'"{name}>=([\d.]+)"', text)[1]
        assert tuple(map(int, pin.split("."))) >= tuple(map(int, bound.split(".")))


def test_every_extra_that_is_installed_exists(install):
    text = (ROOT / "pyproject.toml").read_text()
    for extra in [*install.EXTRAS, "cluster", "all"]:
        assert re.search(rf"^{extra} = \[", text, re.M), extra
