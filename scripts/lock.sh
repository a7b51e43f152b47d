#!/bin/sh
# Resolve once into requirements-dev.lock (everything), then cut requirements.lock (the runtime) out of that resolution.
set -eu
uv=$1
compile="$uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11"
$compile --all-extras pyproject.toml --output-file requirements-dev.lock
$compile --extra gemini --extra bot --extra notebooks --constraint requirements-dev.lock \
    pyproject.toml --output-file requirements.lock
