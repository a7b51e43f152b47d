"""Ingesting a vault that is in git: its notes, its name, and that nothing which goes wrong there loses one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import in_process
from git_world import Repository, git, git_host, needs_git

from nescord import KnowledgeManager
from nescord.errors import ServiceUnavailableError, UsageError, VaultError
from nescord.ingest import IngestOptions
from tests.vaults import contents, open_base, paths_found

pytestmark = needs_git


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.push(
        {"tea.md": "Green tea", "work/plan.md": "Tea for all", "work/日本.md": "お茶 tea", ".obsidian/x.md": "tea"}
    )
    return repository


def opened(tmp_path: Path, url: object, **settings: object) -> KnowledgeManager:
    return open_base(tmp_path / "kb", vault_git_url=str(url), **settings)


def test_the_notes_of_a_repository_are_taken_in_under_its_name(repository: Repository, tmp_path: Path) -> None:
    before = contents(repository.path)
    with opened(tmp_path, repository.path, vault_space="guild:7") as km:
        report = km.ingest()
        assert (report.source, report.added) == ("notes", 3)
        (source,) = km.sources()
        assert (source.name, source.kind, source.space) == ("notes", "obsidian", "guild:7")
        assert Path(source.root).is_relative_to(tmp_path / "kb" / "sources" / "git")
        assert sorted(paths_found(km, "tea")) == ["tea.md", "work/plan.md", "work/日本.md"]
        again = km.ingest()
        assert (again.unchanged, again.changes) == (3, [])
        assert contents(repository.path) == before, "nothing is ever pushed"
        repository.push({"tea.md": None, "drinks/tea.md": "Green tea", "work/plan.md": "Coffee", "new.md": "Tea again"})
        third = km.ingest(options=IngestOptions(dry_run=True))
        assert (third.renamed, third.changed, third.added, third.deleted) == (1, 1, 1, 0)
        third = km.ingest()
        assert (third.renamed, third.changed, third.added, third.unchanged) == (1, 1, 1, 1)
        assert sorted(paths_found(km, "tea")) == ["drinks/tea.md", "new.md", "work/日本.md"]


def test_an_emptied_branch_deletes_nothing_unless_it_is_meant(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        km.ingest()
        repository.push({"tea.md": None, "work/plan.md": None, "work/日本.md": None})
        report = km.ingest()
        assert (report.deleted, report.withheld) == (0, 3)
        assert "nothing was deleted" in report.messages[0]
        assert len(paths_found(km, "tea")) == 3
        assert km.ingest(options=IngestOptions(allow_mass_delete=True)).deleted == 3
        assert paths_found(km, "tea") == []


def test_whatever_goes_wrong_on_the_way_the_notes_stay(repository: Repository, tmp_path: Path) -> None:
    with git_host(tmp_path) as host:
        url = f"{host.url}/notes.git"
        with opened(tmp_path, url, vault_git_folder="work") as km:
            km.ingest()
            host.status = 503
            with pytest.raises(ServiceUnavailableError, match="the notes stay"):
                km.ingest()
            host.status, host.password = 0, "somebody:else"
            with pytest.raises(VaultError, match="NESCORD_VAULT_GIT_TOKEN"):
                km.ingest()
            host.password = ""
            repository.push({"work/plan.md": None, "work/日本.md": None})
            with pytest.raises(VaultError, match="NESCORD_VAULT_GIT_FOLDER"):
                km.ingest()
            git(repository.path, "symbolic-ref", "HEAD", "refs/heads/gone")
            with pytest.raises(VaultError, match="NESCORD_VAULT_GIT_BRANCH"):
                km.ingest()
            shutil.rmtree(repository.path)
            with pytest.raises(VaultError, match="NESCORD_VAULT_GIT_URL"):
                km.ingest()
            assert sorted(paths_found(km, "tea")) == ["plan.md", "日本.md"]
            assert km.trash() == []


def test_another_repository_is_another_vault(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        km.ingest()
    other = Repository(tmp_path, "others")
    other.push({"tea.md": "Black tea"})
    with opened(tmp_path, other.path) as km:
        assert (km.ingest().source, km.sources()[0].name, km.sources()[1].name) == ("others", "notes", "others")
        assert len(paths_found(km, "tea")) == 4
        assert km.remove_source("notes") == 3
    # One of the same name could be the same one, moved.
    (tmp_path / "else").mkdir()
    namesake = Repository(tmp_path / "else", "others")
    namesake.push({"tea.md": "Black tea"})
    with opened(tmp_path, namesake.path) as km:
        with pytest.raises(VaultError, match=r"has it moved to .* or is this another one"):
            km.ingest()
        assert km.ingest(moved=True).unchanged == 1
        assert km.ingest().source == "others"


def test_another_branch_of_the_only_vault_of_a_repository_is_the_same_vault(
    repository: Repository, tmp_path: Path
) -> None:
    with opened(tmp_path, repository.path) as km:
        km.ingest()
        notes = {hit.path: hit.note_id for hit in km.search("tea")}
    elsewhere = {"vault_git_branch": "main", "vault_git_folder": "work"}
    with opened(tmp_path, repository.path, **elsewhere) as km, pytest.raises(VaultError, match="already a vault"):
        km.ingest()
    with opened(tmp_path, repository.path, vault_git_branch="main") as km:
        report = km.ingest()
        assert (report.source, report.added, report.unchanged) == ("notes", 0, 3)
        assert {hit.path: hit.note_id for hit in km.search("tea")} == notes
        km.ingest()
        assert len(mirrors_in(tmp_path)) == 1, "the mirror of the default branch is of no use any more"
    git(repository.work, "checkout", "--quiet", "-b", "draft")
    repository.push({"tea.md": "Black tea"})
    with opened(tmp_path, repository.path, vault_git_branch="draft") as km:
        assert (km.ingest(name="drafts").source, len(km.sources())) == ("drafts", 2), "if it is asked for"
        assert len(mirrors_in(tmp_path)) == 2
    with opened(tmp_path, repository.path) as km, pytest.raises(VaultError, match=r"has it moved to .* \(--same\)"):
        km.ingest()


def test_mirrors_that_no_vault_needs_go_and_those_that_one_needs_stay(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        km.ingest()
    (tmp_path / "kb" / "sources" / "git" / "known_hosts").write_text("h ssh-ed25519 x\n")
    other = Repository(tmp_path, "others")
    other.push({"tea.md": "Black tea"})
    first = mirrors_in(tmp_path)
    with opened(tmp_path, other.path) as km:
        km.ingest()
        both = mirrors_in(tmp_path)
        assert len(both) == 2
        km.remove_source("notes")
        km.ingest()
        assert mirrors_in(tmp_path) == both - first
    (tmp_path / "vault").mkdir()
    with open_base(tmp_path / "kb", vault=tmp_path / "vault") as km:
        km.ingest()
        assert mirrors_in(tmp_path) == both - first
        km.remove_source("others")
        km.ingest()
        assert mirrors_in(tmp_path) == set()
    assert [path.name for path in (tmp_path / "kb" / "sources" / "git").iterdir()] == ["known_hosts"]


def mirrors_in(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "kb" / "sources" / "git").iterdir() if path.is_dir()}


def test_a_data_folder_that_was_moved_knows_its_vault_again(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path, vault_git_folder="work") as km:
        km.ingest(name="mine")
        notes = {hit.path: hit.note_id for hit in km.search("tea")}
    (tmp_path / "kb").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "sources")
    with open_base(tmp_path / "moved", vault_git_url=str(repository.path), vault_git_folder="work") as km:
        report = km.ingest()
        assert (report.source, report.added, report.unchanged) == ("mine", 0, 2)
        assert {hit.path: hit.note_id for hit in km.search("tea")} == notes
        assert [Path(source.root).is_relative_to(tmp_path / "moved") for source in km.sources()] == [True]


def test_vaults_that_are_paused_are_not_fetched(repository: Repository, tmp_path: Path) -> None:
    with opened(tmp_path, repository.path) as km:
        km.ingest()
        km.backups.restored(km.backups.create().id)
    repository.push({"new.md": "More tea"})
    away = repository.path.rename(tmp_path / "away")
    with (
        opened(tmp_path, repository.path) as km,
        pytest.raises(UsageError, match="no vault is taken in since the restore"),
    ):
        km.ingest()
    away.rename(repository.path)
    env = {"NESCORD_DATA_DIR": str(tmp_path / "kb"), "NESCORD_VAULT_GIT_URL": str(repository.path)}
    (would,) = in_process("ingest", "--resume", "--yes", "--json", env=env).document["would"]
    assert (would["added"], would["unchanged"]) == (1, 3)


def test_the_command_line_fetches_and_says_what_is_wrong(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NESCORD_DATA_DIR", str(tmp_path / "kb"))
    url = {"NESCORD_VAULT_GIT_URL": str(repository.path)}
    assert in_process("ingest", "--json", env=url).document["added"] == 3
    with git_host(tmp_path) as host:
        host.status = 503
        away = in_process("ingest", env={"NESCORD_VAULT_GIT_URL": f"{host.url}/notes.git"})
    assert away.code == 69
    assert "is not to be reached" in away.err
    both = in_process("ingest", env=url | {"NESCORD_VAULT": str(tmp_path)})
    assert both.code == 2
    assert "cannot be used together with NESCORD_VAULT" in both.err
