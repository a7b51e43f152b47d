#!/bin/sh
# Resolve once into requirements-dev.lock (everything), then cut the others out of that resolution: requirements.lock (the
# runtime), requirements-core.lock (the runtime without notebooks, for small images) and requirements-build.lock (this
# very uv, which installs them in an image).
set -eu
uv=$1
compile="$uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11"
$compile --all-extras pyproject.toml --output-file requirements-dev.lock
$compile --extra gemini --extra bot --extra agents --extra notebooks --constraint requirements-dev.lock \
    pyproject.toml --output-file requirements.lock
$compile --extra gemini --extra bot --extra agents --constraint requirements-dev.lock \
    pyproject.toml --output-file requirements-core.lock
version=$("$uv" --version)
version=${version#uv }
echo "uv==${version%% *}" | $compile --output-file requirements-build.lock -
