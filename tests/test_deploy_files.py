"""Dockerfile, compose.yaml, railway.json and .railway/railway.py: each right by itself, and all of one mind."""

from __future__ import annotations

import ast
import copy
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from deploy_files import (
    ROOT,
    arguments_of,
    compose_service,
    dockerfile,
    image_environment,
    locked,
    railway_graph,
    railway_json,
    railway_resource,
)
from railway_schema import complaints

from nescord import Settings
from nescord.errors import SettingsError
from nescord.home import DataFolder, warnings_for

GUIDES = sorted((ROOT / "docs" / "deployment").glob("*.md"))
GUIDE = ROOT / "docs" / "deployment" / "railway-persistent-volumes.md"


class _NotReady(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server asks for
        self.send_error(503 if self.path == "/healthz" else 404)

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture
def http_port_that_answers_503() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _NotReady) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server.server_port
        server.shutdown()


def test_the_dockerfile_has_no_complaint_of_the_linter() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_asks_for_nothing_that_a_builder_may_lack() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    names = [name for name, _ in dockerfile()]
    assert "VOLUME" not in names, "Railway refuses it"
    assert not re.search(r"^# *(syntax|escape|check) *=", text, re.MULTILINE | re.IGNORECASE), "a line for BuildKit"
    assert not re.search(r"--(mount|chmod|link|parents|exclude|network|security)\b|<<", text), "BuildKit only"
    for base in arguments_of("FROM"):
        assert re.fullmatch(r"python:3\.11-slim-bookworm( AS \w+)?", base), "no registry, the same base everywhere"


def test_the_image_runs_tini_and_nescord_without_a_shell_as_a_number() -> None:
    assert [json.loads(each) for each in arguments_of("ENTRYPOINT")] == [["/usr/bin/tini", "--"]]
    assert [json.loads(each) for each in arguments_of("CMD")] == [["nescord", "up"]]
    (user,) = arguments_of("USER")
    assert user == "10001:10001"
    assert image_environment()["NESCORD_UID"] == user.partition(":")[0], "started as root, it becomes the same"


def test_what_the_image_sets_are_settings_that_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {str(field.validation_alias) for field in Settings.model_fields.values()}
    ours = {name: text for name, text in image_environment().items() if name in names}
    assert set(ours) == {"NESCORD_DATA_DIR", "NESCORD_UID", "PORT"}
    for name, text in ours.items():
        monkeypatch.setenv(name, text)
    settings = Settings()
    assert (str(settings.data_dir), settings.run_as, settings.port) == ("/data/nescord", 10001, 8080)


def test_everything_that_is_copied_may_pass_and_nothing_else() -> None:
    copied = {source for rest in arguments_of("COPY") if not rest.startswith("--from=") for source in rest.split()[:-1]}
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line[:1] != "#") == "*", "whatever is not named stays out"
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    for source in copied:
        assert (ROOT / source).exists(), source


def test_each_lock_is_a_cut_of_the_one_that_is_tested() -> None:
    everything, runtime, core = (locked(f"requirements{part}.lock") for part in ("-dev", "", "-core"))
    assert core.items() <= runtime.items() <= everything.items()
    left_out = set(runtime) - set(core)
    assert {"duckdb", "matplotlib", "pandas", "pyarrow", "papermill"} <= left_out
    assert {"apsw", "chromadb", "discord-py", "google-generativeai", "prefect"} <= set(core)
    (version,) = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked("requirements-build.lock") == {"uv": {version}}


def test_railway_would_accept_the_json() -> None:
    assert complaints(railway_json()) == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("deploy", "drainingSeconds", "60"),  # Railway's own page has shown it so
        ("deploy", "volumes", [{"mountPath": "/data"}]),
        ("deploy", "restartPolicyType", "on_failure"),
        ("deploy", "numReplicas", True),
        ("build", "builder", "DOCKER"),
    ],
)
def test_the_schema_sees_what_railway_refuses(section: str, key: str, value: Any) -> None:
    broken = copy.deepcopy(railway_json())
    broken[section][key] = value
    assert len(complaints(broken)) == 1
    assert len(complaints({"environments": {"production": broken}, section: broken[section]})) > 1
    assert complaints({"volumes": []}) == ["volumes: unknown"]


def test_railway_json_says_what_the_service_needs() -> None:
    config = railway_json()
    assert config["build"] == {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"}
    assert config["deploy"] == {
        "numReplicas": 1,
        "healthcheckPath": "/healthz",
        "healthcheckTimeout": 300,
        "restartPolicyType": "ON_FAILURE",
        "restartPolicyMaxRetries": 10,
        "requiredMountPath": "/data",
        "overlapSeconds": 0,
        "drainingSeconds": 60,
        "sleepApplication": False,
    }


def test_the_graph_of_railway_declares_the_same_service_with_a_volume_and_a_bucket() -> None:
    assert sorted(each["type"] for each in railway_graph()) == ["bucket", "service", "volume"]
    service = railway_resource("service")
    assert service["build"] == railway_json()["build"]
    assert service["deploy"] == railway_json()["deploy"]
    (attached,) = service["volumeAttachments"].values()
    assert attached["volume"] == railway_resource("volume")["address"]
    assert attached["mountPath"] == service["deploy"]["requiredMountPath"]
    assert "source" not in service, "the repository that is connected stays"


def test_the_graph_sets_variables_that_are_settings_and_no_secret() -> None:
    variables = railway_resource("service")["variables"]
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert set(variables) - known == {"RAILWAY_RUN_UID"}
    literal = {name: each["value"] for name, each in variables.items() if each["type"] == "literal"}
    assert literal["RAILWAY_RUN_UID"] == "0"
    bucket = railway_resource("bucket")
    filled = {name: text.replace(f"${{{{{bucket['name']}.BUCKET}}}}", "backups-1a2b") for name, text in literal.items()}
    settings = Settings(off_site=filled["NESCORD_OFF_SITE"], off_site_endpoint=filled["NESCORD_OFF_SITE_ENDPOINT"])
    assert settings.off_site == "s3://backups-1a2b/nescord"
    referred = {name: each for name, each in variables.items() if each["type"] == "reference"}
    assert {each["resource"] for each in referred.values()} == {bucket["address"]}
    secret = {
        str(field.validation_alias) for field in Settings.model_fields.values() if "SecretStr" in str(field.annotation)
    }
    assert not secret & set(literal)


def test_all_files_agree_on_mount_port_health_draining_and_replicas() -> None:
    deploy, compose, image = railway_json()["deploy"], compose_service(), image_environment()
    mount = deploy["requiredMountPath"]
    (volume,) = compose["volumes"]
    assert volume == f"nescord:{mount}"
    assert Path(image["NESCORD_DATA_DIR"]).parent == Path(mount), (
        "a folder below the mount: lost+found lies in its root"
    )
    assert any(rest.endswith(f"install -d -o 10001 -g 10001 {mount}") for rest in arguments_of("RUN")), "as volumes get"
    assert compose["ports"] == [f"127.0.0.1:${{PORT:-{image['PORT']}}}:${{PORT:-{image['PORT']}}}"]
    assert arguments_of("EXPOSE") == [image["PORT"]]
    assert deploy["healthcheckPath"] in compose["healthcheck"]["test"][-1]
    assert compose["stop_grace_period"] == f"{deploy['drainingSeconds']}s"
    assert compose.get("scale", 1) == deploy["numReplicas"]
    assert "deploy" not in compose
    assert compose["read_only"] is True
    assert any(Path(image["PREFECT_UI_STATIC_DIRECTORY"]).is_relative_to(each) for each in compose["tmpfs"])
    assert compose["restart"] == "unless-stopped"
    assert compose["environment"] == {"PORT": f"${{PORT:-{image['PORT']}}}"}, "where it is published, it listens"


def test_the_health_check_of_compose_asks_where_the_port_says(http_port_that_answers_503: int) -> None:
    exec_form, python, *rest = compose_service()["healthcheck"]["test"]
    assert (exec_form, python) == ("CMD", "python")
    for port, expected in ((http_port_that_answers_503, "HTTP Error 503"), (1, "Connection refused")):
        done = subprocess.run(
            [sys.executable, *rest], env={"PORT": str(port)}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1
        assert expected in done.stderr


def test_the_folder_of_the_image_is_the_one_that_railway_would_choose() -> None:
    mount = railway_json()["deploy"]["requiredMountPath"]
    of_the_image = DataFolder.at(Settings(data_dir=image_environment()["NESCORD_DATA_DIR"]))
    assert DataFolder.at(Settings(railway_volume_mount_path=mount)) == of_the_image


@pytest.mark.parametrize("slashes", ["///", "////"])
def test_variables_of_older_guides_for_app_data_are_refused_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, slashes: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:{slashes}app/data/nescordbot.db")
    monkeypatch.setenv("CHROMADB_PERSIST_DIRECTORY", "/app/data/chromadb")
    monkeypatch.setenv("CHROMADB_COLLECTION_NAME", "nescord_knowledge")
    with pytest.raises(SettingsError, match=r"outside the data folder /data/nescord: .*use sqlite:////data/nescord/"):
        DataFolder.at(Settings(data_dir=image_environment()["NESCORD_DATA_DIR"]))
    monkeypatch.setenv("DATABASE_URL", "sqlite:////data/nescord/nescordbot.db")
    settings = Settings(data_dir=image_environment()["NESCORD_DATA_DIR"])
    (warning,) = warnings_for(settings, DataFolder.at(settings))
    assert "CHROMADB_PERSIST_DIRECTORY is /app/data/chromadb, outside" in warning


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_variable_in_a_guide_is_a_setting_or_a_known_one(guide: Path) -> None:
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    # Of the platform, of the image, of Prefect and of the measurements.
    known |= {"RAILWAY_RUN_UID", "RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "RAILWAY_VOLUME_NAME", "NESCORD_SOAK"}
    named = set(re.findall(r"\b(?:NESCORD|RAILWAY|PREFECT|CHROMADB|PKM|AWS)_[A-Z_]+\b", guide.read_text("utf-8")))
    assert named <= known


def _refusals(module: str) -> list[list[str]]:
    """The fixed parts of the message of each error that a module raises by itself."""
    tree = ast.parse((ROOT / "nescord" / f"{module}.py").read_text(encoding="utf-8"))
    raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    messages = [_texts(each) for each in raised]
    return [message for message in messages if message]


def _texts(node: ast.AST) -> list[str]:
    found = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return [text for text in found if len(text) > 4]


def _documented_messages() -> list[list[str]]:
    text = GUIDE.read_text(encoding="utf-8").partition("\n## Troubleshooting\n")[2].partition("\n## ")[0]
    messages = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    return [[part for part in (part.strip() for part in message.split("…")) if part] for message in messages]


@pytest.mark.parametrize("module", ["deployment", "gate", "services", "up"])
def test_every_refusal_of_up_is_in_the_guide(module: str) -> None:
    refusals = _refusals(module)
    assert refusals
    for texts in refusals:
        assert any(all(any(part in text for text in texts) for part in parts) for parts in _documented_messages()), (
            f"docs/deployment/{GUIDE.name} has no row for {texts}"
        )


def test_every_message_in_the_guide_is_one_that_the_program_prints() -> None:
    printed = [
        text
        for path in (ROOT / "nescord").rglob("*.py")
        for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
    ]
    documented = _documented_messages()
    assert len(documented) > 20
    for parts in documented:
        for part in parts:
            assert any(part in text for text in printed), f"nothing prints {part!r}"
