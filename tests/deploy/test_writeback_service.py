"""A vault in git, the whole service and Discord: what is in git is taken in on schedule, what is captured in Discord
comes back as a commit, and what is edited in git is found in Discord."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from deploy_world import Volume, container
from flow_world import processes_naming, wait_for
from git_world import Repository, git, git_host, needs_git
from services_world import PATIENCE
from writeback_world import files_of, pulled

from nescord.prefect_api import PrefectApi, find_server, patiently
from nescord.settings import Settings
from tests.fakes.discord import DiscordFake, User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), needs_git]

OWNER = 71
TEXT = "梅干しを三日干した"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    folder = tmp_path / "volume"
    (folder / "lost+found").mkdir(parents=True)
    yield Volume(folder)
    assert not processes_naming(str(folder))


def test_git_and_discord_meet_in_one_note(volume: Volume, tmp_path: Path) -> None:
    (tmp_path / "git").mkdir()
    repository = Repository(tmp_path / "git")
    repository.push({"お茶.md": "# お茶\n\n急須で三分。\n"})
    with git_host(tmp_path / "git") as host, DiscordFake() as discord:
        owner, guest = discord.user(OWNER, "ada"), discord.user(OWNER + 1, "ben")
        volume.settings = _settings(f"{host.url}/notes.git", discord)
        with container(volume) as service:
            service.hears("all services are ready")
            discord.wait_ready(PATIENCE)
            discord.wait_until(lambda: discord.commands.registered, PATIENCE, "the commands")
            _hurry(volume)
            wait_for("the vault in git", lambda: "お茶" in _found(discord, owner, "急須"), PATIENCE)
            _add(discord, guest, "これはコミットに載せない")
            _add(discord, owner, TEXT)
            wait_for("the commit", lambda: files_of(repository), PATIENCE)
            ((name, written),) = files_of(repository).items()
            assert TEXT in written
            assert f"author: user:{OWNER}\n" in written
            assert "NescordBot" in git(repository.path, "log", "-1", "--format=%an", "main")
            note_id = written.split("\n")[1].removeprefix("id: ")

            pulled(repository).push({f"inbox/{name}": written.replace(TEXT, "梅干しは土用に干すことにする")})
            wait_for("the edit", lambda: "土用に干す" in _found(discord, owner, "土用"), PATIENCE)
            assert "土用に干す" not in _found(discord, guest, "土用")
            (note,) = _notes_saying(volume, "土用")
            assert (note["id"], note["path"]) == (note_id, f"inbox/{name}")
            assert _notes_saying(volume, TEXT) == []
            assert list(files_of(repository)) == [name]
            code, _ = service.stop()
            assert code == 0, service.said
        discord.check()
    assert discord.close_code() == 1000


def _settings(url: str, discord: DiscordFake) -> dict[str, str]:
    return {
        "NESCORD_EMBEDDER": "none",
        "NESCORD_VECTOR": "exact",
        "NESCORD_VAULT_GIT_URL": url,
        "NESCORD_WRITEBACK": "true",
        # What the owner keeps for themselves in Discord, and what they capture at the command line.
        "NESCORD_WRITEBACK_SPACES": f"personal,user:{OWNER}",
        "NESCORD_OWNER_IDS": str(OWNER),
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_BASE": discord.api_base,
        "DISCORD_GATEWAY": discord.gateway,
    }


def _hurry(volume: Volume) -> None:
    """Let the service's own scheduler begin the ingest every few seconds, besides once an hour."""
    server = find_server(Settings(data_dir=volume.data))
    with PrefectApi(server) as api:
        wait_for("the flows to be served", lambda: any(each.flow == "ingest" for each in api.deployments()), PATIENCE)
        deployment = patiently(lambda: api.deployment("ingest"))
    assert deployment.is_scheduled
    user, _, password = server.auth.partition(":")
    schedule = {"slug": f"often-{uuid.uuid4()}", "active": True, "schedule": {"interval": 10}}
    answer = httpx.post(
        f"{server.url}/deployments/{deployment.id}/schedules", json=[schedule], auth=(user, password), timeout=60
    )
    assert answer.is_success, answer.text


def _add(discord: DiscordFake, user: User, text: str) -> None:
    """In a direct message with the bot."""
    discord.slash(user, "note add", text=text).wait(PATIENCE)


def _found(discord: DiscordFake, user: User, words: str) -> str:
    return discord.slash(user, "search", query=words).wait(PATIENCE).text


def _notes_saying(volume: Volume, words: str) -> list[dict[str, str]]:
    """The notes that hold these words in all spaces."""
    done = volume.nescord("search", "--json", words)
    assert done.code == 0, done.err
    found = [volume.nescord("show", "--json", each["note_id"]) for each in json.loads(done.out)]
    notes: list[dict[str, str]] = [json.loads(each.out) for each in found]
    return [each for each in notes if words in each["body"]]
