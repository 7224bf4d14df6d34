"""Set-up, second half: fills the virtual environment whose Python runs this script.

Installs a pinned torch, torch-scatter and torch-cluster against it, then the package,
editable, with its extras. A finished set-up leaves a stamp, and the next run returns
at once; an interrupted one goes on where it stopped.

Read from the environment:
    TORCH     the torch release (the pin below)
    CLUSTER   0: go on without torch-scatter and torch-cluster; 1: with them again
    MAX_JOBS  compiler processes for each of the two
and whatever pip reads: PIP_INDEX_URL, PIP_FIND_LINKS and so on. Wheels are also looked
for in wheels/ and ../shared/wheels.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = Path(sys.prefix) / ".lieconv"
STAMP = STATE / "stamp"

TORCH = os.environ.get("TORCH") or "2.13.0"
CLUSTER = {"torch-scatter": "2.1.2", "torch-cluster": "1.6.3"}
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TOOLS = ["setuptools>=77", "wheel"]
EXTRAS = ["molecules", "dynamics", "images", "jets", "docs", "test", "dev"]

WHEELS = ROOT / "wheels"
COMPILED = WHEELS / f"torch-{TORCH}"  # what was compiled here, for the torch it fits
FOUND = [WHEELS, ROOT.parent / "shared" / "wheels"]

WITHOUT_CLUSTER = (
    "The package works without the two: its plain-torch search finds the same",
    "neighbours, more slowly. To go on like that: make demo CLUSTER=0",
)
NO_NETWORK = re.compile(
    r"Retrying \(Retry|NewConnectionError|NameResolutionError|ConnectTimeout"
    r"|Max retries exceeded|Network is unreachable|SSLError|ProxyError"
)


class Stop(Exception):
    """What stops the set-up, and then the remedy, a line an argument."""


def say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


# ------------------------------------------------------------------ is it done already


def wants_cluster() -> bool:
    """What CLUSTER says; unsaid, what it said when it was last given."""
    choice = os.environ.get("CLUSTER")
    if choice not in (None, "", "0", "1"):
        raise Stop(f"CLUSTER={choice} is neither 0 nor 1.")
    return choice == "1" if choice else bool(read_stamp().get("cluster", True))


def read_stamp() -> dict:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def description() -> dict:
    """Everything that a finished set-up depends on."""
    inputs = [ROOT / "pyproject.toml", Path(__file__)]
    return {
        "cluster": wants_cluster(),
        "torch": TORCH,
        "python": PYTHON,
        "folder": str(ROOT),
        "inputs": hashlib.sha256(b"".join(f.read_bytes() for f in inputs)).hexdigest(),
    }


# --------------------------------------------------------------------------------- pip


def pip(command: str, *arguments: str, log: str) -> list[str]:
    """A pip command line that keeps all that pip says in the file ``log``."""
    path = STATE / f"{log}.log"
    path.unlink(missing_ok=True)
    links = [f"--find-links={folder}" for folder in FOUND if folder.is_dir()]
    if command == "uninstall":
        links = []
    return [sys.executable, "-m", "pip", command, f"--log={path}", *links, *arguments]


def install(*arguments: str, log: str) -> None:
    """``pip install`` that shows downloads to people and nothing else."""
    bar = "on" if sys.stdout.isatty() else "off"
    command = pip("install", "-qq", f"--progress-bar={bar}", *arguments, log=log)
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
        raise explain(STATE / f"{log}.log")


def silently(command: list[str]) -> bool:
    silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, **silence).returncode == 0


def explain(log: Path) -> Stop:
    """Why pip failed, from its log."""
    text = log.read_text(errors="replace") if log.exists() else ""
    if NO_NETWORK.search(text):
        return Stop(
            "pip cannot reach a package index. Is there a network?",
            "It is needed once; the set-up then goes on where it stopped. For a",
            "mirror or local files set PIP_INDEX_URL or PIP_FIND_LINKS, or put the",
            "wheels in wheels/.",
            f"All that pip said: {log}",
        )
    errors = re.findall(r"^\S+ +((?:ERROR|error): .*)", text, re.MULTILINE)
    return Stop("pip failed.", *errors[-10:], f"All that it said: {log}")


# ------------------------------------------------------- torch-scatter, torch-cluster


def cluster_works() -> bool:
    """Whether both are there in the pinned version, and this torch can load them."""
    pinned = "; ".join(
        f"import {(module := name.replace('-', '_'))};"
        f" assert {module}.__version__ == {version!r}"
        for name, version in CLUSTER.items()
    )
    return silently([sys.executable, "-c", f"import torch; {pinned}"])


def install_wheels(*arguments: str) -> bool:
    """Installs wheels of both, if pip finds some that this torch can load."""
    silently(pip("uninstall", "--yes", *CLUSTER, log="uninstall"))
    pins = [f"{name}=={version}" for name, version in CLUSTER.items()]
    options = ["--no-deps", "--only-binary=:all:", *arguments]
    found = silently(pip("install", *options, *pins, log="wheels"))
    return found and cluster_works()


def check_compiler() -> None:
    if not any(map(shutil.which, [os.environ.get("CXX", "c++"), "g++"])):
        raise Stop(
            "no C++ compiler was found.",
            "pip finds no wheels of torch-scatter and torch-cluster for this Python",
            "and torch, so they must be compiled. Install one (Debian, Ubuntu: apt",
            "install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install).",
            *WITHOUT_CLUSTER,
        )
    headers = Path(sysconfig.get_paths()["include"], "Python.h")
    if not headers.exists():
        raise Stop(
            f"{headers} is missing.",
            "pip finds no wheels of torch-scatter and torch-cluster for this Python",
            "and torch, so they must be compiled, which needs it. Install it (Debian,",
            "Ubuntu: apt install python3-dev; Fedora: dnf install python3-devel).",
            *WITHOUT_CLUSTER,
        )


def jobs_for_each() -> int:
    """Half the cores, and no more compilers than memory allows (2 GB each)."""
    jobs = (os.cpu_count() or 2) // 2
    try:
        free = re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text())
    except OSError:
        free = None
    return max(1, min(jobs, int(free[1]) // 4_000_000) if free else jobs)


def start_build(name: str) -> subprocess.Popen:
    """Starts ``pip wheel``, in a process group of its own, to be ended whole."""
    building = COMPILED / f".{name}"
    shutil.rmtree(building, ignore_errors=True)
    options = ["--no-build-isolation", "--no-deps", "--no-cache-dir", "-qq"]
    options += [f"--no-binary={name}", f"--wheel-dir={building}"]
    command = pip("wheel", *options, f"{name}=={CLUSTER[name]}", log=name)
    environment = {"MAX_JOBS": str(jobs_for_each())} | os.environ
    silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=environment, start_new_session=True, **silence)


def finish_build(name: str, build: subprocess.Popen) -> None:
    """Keeps the wheel, whole, or stops with the reason."""
    if build.returncode != 0:
        why = explain(STATE / f"{name}.log")
        if "network" in why.args[0]:
            raise why
        raise Stop(f"{name} could not be compiled.", *why.args[1:], *WITHOUT_CLUSTER)
    for wheel in (COMPILED / f".{name}").glob("*.whl"):
        wheel.replace(COMPILED / wheel.name)
    shutil.rmtree(COMPILED / f".{name}")
    say(f"{name} is compiled")


def end(builds: list[subprocess.Popen], patience: float = 5) -> None:
    """Ends the builds that still run, with every compiler that they started."""
    left = [build for build in builds if build.poll() is None]
    for number in (signal.SIGINT, signal.SIGKILL):  # pip cleans up, then the rest goes
        for build in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(build.pid, number)
        deadline = time.monotonic() + patience
        while any(b.poll() is None for b in left) and time.monotonic() < deadline:
            time.sleep(0.05)


def compile_both() -> None:
    """Compiles what has no wheel yet, in parallel, and installs both."""
    check_compiler()
    install(*TOOLS, "ninja", log="tools")
    COMPILED.mkdir(parents=True, exist_ok=True)
    missing = [n for n in CLUSTER if not built(n)]
    say(f"compiling {' and '.join(missing)}: about a quarter of an hour, once")
    builds: dict[str, subprocess.Popen] = {}
    try:
        for name in missing:
            builds[name] = start_build(name)
        running, begun = dict(builds), time.monotonic()
        while running:
            time.sleep(0.2)
            for name in [n for n, build in running.items() if build.poll() is not None]:
                finish_build(name, running.pop(name))
            if running and time.monotonic() - begun > 60:
                begun = time.monotonic()
                say(f"still compiling {' and '.join(running)}")
    finally:
        end(list(builds.values()))


def built(name: str) -> list[Path]:
    """The wheels for this Python that an earlier run compiled."""
    tag = f"cp{PYTHON.replace('.', '')}"
    return list(COMPILED.glob(f"{name.replace('-', '_')}-{CLUSTER[name]}-{tag}-*.whl"))


def install_cluster() -> None:
    """From what was compiled here, or from wheels that pip finds, or by compiling."""
    ours = ["--no-index", f"--find-links={COMPILED}"]
    if all(map(built, CLUSTER)):
        if install_wheels(*ours):
            return
        for wheel in [w for name in CLUSTER for w in built(name)]:
            wheel.unlink()  # for another build of this torch
    if install_wheels():
        return
    compile_both()
    if not install_wheels(*ours):
        raise Stop(
            "torch-scatter and torch-cluster were compiled and cannot be loaded.",
            f"Say {sys.executable} -c 'import torch_cluster' to see why.",
            *WITHOUT_CLUSTER,
        )


# --------------------------------------------------------------------------- the whole


def set_up() -> None:
    with_cluster = wants_cluster()
    say(f"installing torch {TORCH} (a large download where pip has it not at hand)")
    install(f"torch=={TORCH}", "numpy", "scipy", log="torch")  # torch-cluster's needs
    if not with_cluster:
        silently(pip("uninstall", "--yes", *CLUSTER, log="uninstall"))
    elif not cluster_works():
        say("installing torch-scatter and torch-cluster")
        install_cluster()
    say("installing lieconv_pyg and what it uses")
    install(*TOOLS, log="tools")
    pins = STATE / "pins.txt"
    pins.write_text(f"torch=={TORCH}\n")
    extras = ",".join(EXTRAS + ["cluster"] * with_cluster)
    options = ["--no-build-isolation", f"--constraint={pins}"]
    # As a plain path: else a folder of this name, such as that of the clone seen from
    # the folder above it, would be taken for the package.
    compat = ("--config-settings", "editable_mode=compat")
    install(*options, *compat, "--editable", f"{ROOT}[{extras}]", log="package")


def main() -> int:
    try:
        if read_stamp() == description():
            return 0
        STATE.mkdir(exist_ok=True)
        with open(STATE / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one set-up at a time
            if read_stamp() == (target := description()):
                return 0
            STAMP.write_text(json.dumps({"cluster": target["cluster"]}))
            set_up()
            STAMP.write_text(json.dumps(target))
            say("ready")
        return 0
    except Stop as stop:
        print("\nset-up stopped:", "\n  ".join(stop.args), file=sys.stderr)
    except KeyboardInterrupt:
        print("\nset-up interrupted: the next run goes on from here", file=sys.stderr)
    return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name, value in {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_USER": "0",  # a --user install, set for other projects, fails in here
        "PIP_REQUIRE_VIRTUALENV": "0",
    }.items():
        os.environ[name] = value
    sys.exit(main())
