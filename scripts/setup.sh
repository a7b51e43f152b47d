#!/bin/sh
# Create the virtual environment and install the lock into it, hashes checked. Called by make; safe to run again.
set -eu
python=$1 venv=$2 uv_version=$3 lock=$4

if ! command -v "$python" >/dev/null 2>&1; then
    echo "setup: $python not found: install Python 3.11 or newer, or name one: make setup PYTHON=python3.12" >&2
    exit 69
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: $python is $("$python" --version 2>&1), but 3.11 or newer is needed: make setup PYTHON=python3.12" >&2
    exit 69
fi
mend() {
    echo "setup: installing the packages failed (see above). Check that the package registry can be reached," >&2
    echo "setup: then run the same make target again; 'make clean' starts over." >&2
    exit 69
}
if [ ! -x "$venv/bin/python" ]; then
    if ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "setup: $python cannot make virtual environments: install its venv package (Debian: apt install python3-venv)" >&2
        exit 69
    fi
fi
echo "setup: installing $lock into $venv (about a minute on a first run)"
VIRTUAL_ENV=$(cd "$venv" && pwd)
export VIRTUAL_ENV
if "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"; then
    "$venv/bin/uv" pip sync --quiet --require-hashes "$lock" || mend
    "$venv/bin/uv" pip install --quiet --no-deps --editable . || mend
else
    # No wheel of uv for this platform: plain pip does the same, more slowly.
    "$venv/bin/python" -m pip install --quiet --no-deps --require-hashes -r "$lock" || mend
    "$venv/bin/python" -m pip install --quiet --no-deps --editable . || mend
    "$venv/bin/python" -m pip check || mend
fi
