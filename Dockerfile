# One container, one volume at /data: docs/deployment/docker.md. Plain instructions only, so that every builder takes it.
# There is no VOLUME on purpose: Railway refuses a Dockerfile with one, and a forgotten -v would hide in an unnamed one.

FROM python:3.11-slim-bookworm AS build
# 0 leaves out what only reports need (notebooks, matplotlib, DuckDB, pandas).
ARG REPORTS=1
WORKDIR /app
COPY requirements.lock requirements-core.lock requirements-build.lock ./
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements-build.lock
# Compiled here, since the service may not write there: it would compile everything again at each start. Then left out:
# Google's catalogue of all its APIs (110 MB; one that is asked for is fetched), the tests of large packages (75 MB), and
# the compiled half of kubernetes (52 MB), which chromadb wants installed and imports only in a cluster.
RUN lock=requirements.lock \
    && if [ "$REPORTS" = 0 ]; then lock=requirements-core.lock; fi \
    && python3 -m venv --without-pip /opt/nescord \
    && VIRTUAL_ENV=/opt/nescord /opt/uv/bin/uv pip sync --no-cache --compile-bytecode --require-hashes "$lock" \
    && find /opt/nescord/lib -depth -type d \( -path '*/googleapiclient/discovery_cache/documents' \
        -o -path '*/pandas/tests' -o -path '*/numpy/*/tests' -o -path '*/pyarrow/tests' -o -path '*/matplotlib/tests' \
        -o -path '*/kubernetes/*__pycache__' \) -exec rm -rf {} +
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY nescord nescord
COPY flows flows
COPY bot bot
COPY notebooks notebooks
# Editable: flows/ is served from beside prefect.yaml, and so there is one copy of everything. --no-index: whatever was
# not in the lock is an error.
RUN VIRTUAL_ENV=/opt/nescord /opt/uv/bin/uv pip install --no-cache --no-index --no-deps --editable . \
    && rm requirements*.lock \
    && python3 -m compileall -q nescord flows bot

FROM python:3.11-slim-bookworm
# git and ssh fetch a vault; tini is the first process, which reaps what others leave.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git openssh-client tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/*
# A name for the uid: ssh refuses to work for somebody without one. Docker gives a new named volume the owner of /data.
RUN groupadd --gid 10001 nescord \
    && useradd --uid 10001 --gid 10001 --no-log-init --create-home --shell /usr/sbin/nologin nescord \
    && install -d -o 10001 -g 10001 /data
COPY --from=build /opt/nescord /opt/nescord
COPY --from=build /app /app
# NESCORD_UID: who the service becomes where it is started as root, as on Railway, whose volumes belong to root.
# Prefect copies its pages to where it serves them from: not to the volume, whose space is for notes. To /tmp, which can
# be written however the container is started.
ENV PATH=/opt/nescord/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NESCORD_DATA_DIR=/data/nescord \
    NESCORD_UID=10001 \
    PREFECT_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    PORT=8080
WORKDIR /app
USER 10001:10001
EXPOSE 8080
# Without -g: nescord passes SIGTERM on itself, to one service after the other.
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["nescord", "up"]
