#!/usr/bin/env bash
# Set-up, first half: finds a Python, makes the virtual environment with it, and hands
# over to scripts/install.py, which fills the environment.
#
# Read from the environment:
#   PYTHON    the Python to use (otherwise the first of python3, python3.13 ... 3.10)
#   VENV      where the environment goes (.venv)
# and what scripts/install.py reads.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${VENV:-.venv}

die() { # what is wrong, and then the remedy, a line an argument
    printf '\nset-up stopped: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

minor_version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

supported() {
    case "$1" in
        3.10 | 3.11 | 3.12 | 3.13) return 0 ;;
        *) return 1 ;;
    esac
}

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

without_venv() {
    die "$1 has no venv module." \
        "Install it (Debian, Ubuntu: apt install python3-venv) and give the command again," \
        "or name another Python: make demo PYTHON=/path/to/python3"
}

find_python() { # sets $python
    local candidate version seen= incomplete=
    if [ -n "${PYTHON:-}" ]; then
        version=$(minor_version "$PYTHON")
        [ -n "$version" ] || die "PYTHON=$PYTHON does not run." "Name a Python 3.10 to 3.13."
        supported "$version" || die "PYTHON=$PYTHON is Python $version; 3.10 to 3.13 is needed."
        has_venv "$PYTHON" || without_venv "$PYTHON"
        python=$PYTHON
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        version=$(minor_version "$candidate")
        if [ -z "$version" ]; then
            continue
        elif ! supported "$version"; then
            seen="${seen:+$seen, }$candidate is $version"
        elif ! has_venv "$candidate"; then
            incomplete=${incomplete:-$candidate}
        else
            python=$candidate
            return
        fi
    done
    [ -z "$incomplete" ] || without_venv "$incomplete"
    die "no Python 3.10 to 3.13 was found${seen:+ ($seen)}." \
        "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12)," \
        "or name it: make demo PYTHON=/path/to/python3"
}

usable() { # is there an environment to go on with
    local version
    version=$(minor_version "$venv/bin/python")
    supported "$version" || return 1
    [ -z "${PYTHON:-}" ] || [ "$version" = "$(minor_version "$PYTHON")" ] || return 1
    # A stamp vouches for pip; an environment whose making was interrupted lacks both.
    [ -f "$venv/.lieconv/stamp" ] || "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

if ! usable; then
    if [ -d "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        die "$venv is there and is not a virtual environment." \
            "Move it away, or name another place: make demo VENV=..."
    fi
    find_python
    printf 'set-up: making %s with Python %s\n' "$venv" "$(minor_version "$python")"
    "$python" -m venv --clear "$venv" || die "$python -m venv $venv failed (see above)."
fi
exec "$venv/bin/python" scripts/install.py
