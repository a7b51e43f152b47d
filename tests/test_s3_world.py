"""The S3 servers and the faulty proxy of the tests do what the tests of replication believe of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError, PermissionDeniedError
from obstore.store import S3Store

from tests.faults.proxy import Fault, FaultyProxy
from tests.s3_world import S3Server, moto_server, rclone_server, store

BODY = bytes(range(256)) * 600


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["moto", "rclone"])
def server(request: pytest.FixtureRequest, moto: S3Server, rclone: S3Server) -> S3Server:
    """One, then the other. Both are asked for here and not by name, so that they start before the test does."""
    found = moto if request.param == "moto" else rclone
    remote = store(found.url)
    for each in obstore.list(remote).collect():
        obstore.delete(remote, each["path"])
    return found


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with FaultyProxy(server.url) as running:
        yield running


def read(remote: S3Store, key: str) -> bytes:
    return bytes(obstore.get(remote, key).bytes())


def keys(remote: S3Store) -> list[str]:
    return sorted(each["path"] for each in obstore.list(remote).collect())


def put_new(remote: S3Store) -> None:
    obstore.put(remote, "new", BODY)


def read_a(remote: S3Store) -> None:
    assert read(remote, "a") == BODY


def test_objects_are_written_read_listed_and_deleted(server: S3Server) -> None:
    remote = store(server.url, prefix="some/where")
    obstore.put(remote, "packs/a", BODY)
    obstore.put(remote, "b", b"")
    assert (read(remote, "packs/a"), keys(remote)) == (BODY, ["b", "packs/a"])
    assert obstore.head(remote, "packs/a")["size"] == len(BODY)
    obstore.delete(remote, "packs/a")
    obstore.delete(remote, "packs/a")
    assert keys(remote) == ["b"]
    with pytest.raises(FileNotFoundError):
        read(remote, "packs/a")


def test_moto_refuses_to_create_what_exists(moto: S3Server) -> None:
    remote = store(moto.url)
    obstore.put(remote, "once", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(remote, "once", b"second", mode="create")
    assert read(remote, "once") == b"first"


def test_rclone_overwrites_what_was_to_be_created_only(rclone: S3Server) -> None:
    """As S3 servers do that do not know If-None-Match: whoever must not overwrite has to look first."""
    remote = store(rclone.url)
    obstore.put(remote, "once", b"first", mode="create")
    obstore.put(remote, "once", b"second", mode="create")
    assert read(remote, "once") == b"second"


def test_rclone_checks_the_secret_and_serves_what_is_on_the_disk(rclone: S3Server) -> None:
    with pytest.raises(PermissionDeniedError):
        obstore.put(store(rclone.url, secret="wrong"), "a", b"")
    remote = store(rclone.url)
    obstore.put(remote, "deep/a", BODY)
    rotten = BODY[:-1] + b"?"
    rclone.file("deep/a").write_bytes(rotten)
    time.sleep(0.05)
    assert read(remote, "deep/a") == rotten
    rclone.file("deep/a").unlink()
    time.sleep(0.05)
    with pytest.raises(FileNotFoundError):
        read(remote, "deep/a")


def test_without_a_fault_the_proxy_changes_nothing(server: S3Server, proxy: FaultyProxy) -> None:
    remote = store(proxy.url)
    obstore.put(remote, "a", BODY)
    assert (read(remote, "a"), keys(remote), obstore.head(remote, "a")["size"]) == (BODY, ["a"], len(BODY))
    obstore.delete(remote, "a")
    assert proxy.struck.total() == 0
    assert proxy.requests.keys() >= {"PUT", "GET", "HEAD"}
    assert keys(store(server.url)) == []


@pytest.mark.parametrize(
    ("fault", "act", "requests"),
    [
        *(("reset", act, 3) for act in (put_new, read_a, keys)),
        *(("error", act, 3) for act in (put_new, read_a, keys)),
        *(("unavailable", act, 3) for act in (put_new, read_a, keys)),
        *(("lost answer", act, 3) for act in (put_new, read_a, keys)),
        ("full", put_new, 1),
        ("truncated", read_a, 3),
        ("truncated", keys, 1),
    ],
)
def test_each_fault_is_an_error_that_says_so_and_is_over_when_healed(
    fault: Fault, act: Callable[[S3Store], object], requests: int, server: S3Server, proxy: FaultyProxy
) -> None:
    obstore.put(store(server.url), "a", BODY)
    remote = store(proxy.url)
    proxy.cause(fault)
    with pytest.raises(GenericError):
        act(remote)
    assert proxy.struck == {fault: requests}
    was_done = (act, fault) == (put_new, "lost answer")
    assert keys(store(server.url)) == (["a", "new"] if was_done else ["a"])
    proxy.heal()
    act(remote)
    assert proxy.struck.total() == requests


def test_one_failure_is_tried_again(server: S3Server, proxy: FaultyProxy) -> None:
    obstore.put(store(server.url), "a", BODY)
    remote = store(proxy.url)
    faults: tuple[Fault, ...] = ("reset", "error", "unavailable", "truncated", "lost answer")
    for fault in faults:
        proxy.cause(fault, times=1)
        assert read(remote, "a") == BODY
    assert proxy.struck == dict.fromkeys(faults, 1)


def test_a_put_that_was_done_but_not_answered_meets_itself_when_it_is_tried_again(moto: S3Server) -> None:
    """So AlreadyExistsError alone does not say that somebody else wrote the object."""
    with FaultyProxy(moto.url) as proxy:
        proxy.cause("lost answer", times=1)
        with pytest.raises(AlreadyExistsError):
            obstore.put(store(proxy.url), "mine", BODY, mode="create")
        assert proxy.struck == {"lost answer": 1}
    assert read(store(moto.url), "mine") == BODY


def test_wrong_bytes_come_without_an_error(server: S3Server, proxy: FaultyProxy) -> None:
    remote = store(proxy.url)
    obstore.put(remote, "a", BODY)
    proxy.cause("wrong bytes")
    found = read(remote, "a")
    assert len(found) == len(BODY)
    assert sum(ours != theirs for ours, theirs in zip(found, BODY, strict=True)) == 1
    assert keys(remote) == ["a"]
    assert proxy.struck == {"wrong bytes": 1}


def test_a_slow_server_takes_its_time(server: S3Server, proxy: FaultyProxy) -> None:
    remote = store(proxy.url, retries=0)
    proxy.cause("slow", delay=0.1)
    began = time.monotonic()
    obstore.put(remote, "a", BODY)  # 3 pieces and the answer
    assert time.monotonic() - began >= 0.4
    proxy.cause("slow", delay=3)
    with pytest.raises(GenericError):
        obstore.put(remote, "b", b"too late")
    assert proxy.struck == {"slow": 2}
    proxy.heal()


def test_a_fault_strikes_the_requests_that_it_was_made_for(server: S3Server, proxy: FaultyProxy) -> None:
    remote = store(proxy.url, retries=0)
    proxy.cause("full", after=2, key="packs/")
    for key in ("packs/1", "snapshots/1", "packs/2"):
        obstore.put(remote, key, b"")
    for _ in range(2):
        with pytest.raises(GenericError, match="QuotaExceeded"):
            obstore.put(remote, "packs/3", b"")
    obstore.put(remote, "snapshots/2", b"")
    proxy.cause("error", methods=frozenset({"HEAD"}))
    assert read(remote, "packs/1") == b""
    with pytest.raises(GenericError):
        obstore.head(remote, "packs/1")
    assert proxy.struck == {"full": 2, "error": 1}
    assert keys(store(server.url)) == ["packs/1", "packs/2", "snapshots/1", "snapshots/2"]


def test_during_an_outage_nobody_answers(server: S3Server, proxy: FaultyProxy) -> None:
    remote = store(proxy.url)
    obstore.put(remote, "a", BODY)
    before = proxy.requests.total()
    with proxy.outage():
        with pytest.raises(GenericError):
            read(remote, "a")
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", int(proxy.url.rpartition(":")[2])))
    assert proxy.requests.total() == before
    assert read(remote, "a") == BODY


def test_an_outage_in_the_middle_of_a_slow_upload_ends_it(server: S3Server, proxy: FaultyProxy) -> None:
    remote = store(proxy.url, retries=0)
    failed: list[BaseError] = []

    def upload() -> None:
        try:
            obstore.put(remote, "a", BODY)
        except BaseError as error:
            failed.append(error)

    proxy.cause("slow", delay=0.5)
    uploading = threading.Thread(target=upload)
    uploading.start()
    while not proxy.struck["slow"]:
        time.sleep(0.01)
    with proxy.outage():
        uploading.join()
    assert isinstance(failed[0], GenericError)
    assert keys(store(server.url)) == []
