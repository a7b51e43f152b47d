"""The whole machine is lost: one command brings everything back from a bucket, and search answers as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nescord.home import DataFolder, read_identity
from nescord.settings import Settings
from tests.cli_runs import Done, in_process
from tests.s3_world import BUCKET, KEY, REGION, SECRET, S3Server, moto_server
from tests.vaults import SAMPLE

pytestmark = pytest.mark.slow

URL = f"s3://{BUCKET}/mine"


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


def queries() -> list[str]:
    lines = (SAMPLE / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["query"] for line in lines][::40]


def test_one_command_on_an_empty_machine_brings_everything_back(bucket: S3Server, tmp_path: Path) -> None:
    data, key = tmp_path / "data", tmp_path / "key.txt"
    access = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
    access |= {"NESCORD_OFF_SITE_ENDPOINT": bucket.url, "NESCORD_EMBEDDER": "local"}
    recipient = in_process("backup", "keygen", key, "--json", env=access).document["recipient"]  # type: ignore[index]
    server = {**access, "NESCORD_OFF_SITE": URL, "NESCORD_BACKUP_RECIPIENT": recipient}

    def run(*arguments: str | Path, env: dict[str, str]) -> Done:
        done = in_process("--data-dir", data, *arguments, env=env)
        assert done.code == 0, done.err
        return done

    def answers() -> list[object]:
        # One at a time, as a person asks; hybrid, so that words, vectors and their fusion count.
        return [run("search", query, "--json", env=access).document for query in queries()]

    run("ingest", SAMPLE / "vault", env=server)
    run("capture", "新しい鍵は引き出しの中", env=server)
    run("backup", "create", env=server)
    run("backup", "replicate", env=server)
    before, uuid = answers(), read_identity(DataFolder.at(Settings(data_dir=data))).uuid
    assert sum(bool(answer) for answer in before) > len(before) / 2

    shutil.rmtree(data)
    said = run("backup", "restore", "--from", URL, "--identity", key, "--yes", "--json", env=access)
    assert said.document["notes"] > 70  # type: ignore[index]
    assert answers() == before
    assert read_identity(DataFolder.at(Settings(data_dir=data))).uuid == uuid
    verified = run("verify", "--json", env=server).document
    assert not [check for check in verified["checks"] if check["status"] == "fail"]  # type: ignore[index]

    # It goes on where it was: nothing is embedded again, and no number is used twice.
    resumed = run("ingest", "--resume", "--yes", "--json", env=server).document
    assert [(report["added"], report["changed"], report["deleted"]) for report in resumed["would"]] == [(0, 0, 0)]  # type: ignore[index]
    again = run("ingest", SAMPLE / "vault", "--json", env=server).document
    assert (again["embedded"], again["pending"]) == (0, 0)  # type: ignore[index]
    assert run("backup", "create", "--json", env=server).document["id"].startswith("000002-")  # type: ignore[index]
    assert len(run("backup", "replicate", "--json", env=server).document["sent"]) == 1  # type: ignore[index]
