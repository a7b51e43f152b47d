"""What is encrypted is read again with the right key, and with nothing else, and no failure goes unseen."""

from __future__ import annotations

import hashlib
import io
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nescord import Settings
from nescord.backup.encryption import WrongIdentityError, decrypt, encrypt, keygen, read_identities
from nescord.errors import BackupError, DamagedBackupError, SettingsError, UsageError
from tests.cli_runs import nescord

PLAIN = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    return keygen(folder / "identity.txt")


@pytest.fixture(scope="module")
def sealed(key: str) -> bytes:
    target = io.BytesIO()
    encrypt(io.BytesIO(PLAIN), target, key)
    return target.getvalue()


def opened(sealed: bytes, identity: Path) -> bytes:
    plain = bytearray()
    digest = decrypt(io.BytesIO(sealed), plain.extend, read_identities(identity), "it")
    assert digest == hashlib.sha256(plain).hexdigest()
    return bytes(plain)


def test_what_is_encrypted_comes_back_and_its_hashes_are_told(folder: Path, key: str) -> None:
    target = io.BytesIO()
    told = encrypt(io.BytesIO(PLAIN), target, key)
    assert told.plain_sha256 == hashlib.sha256(PLAIN).hexdigest()
    assert (told.sha256, told.bytes) == (hashlib.sha256(target.getvalue()).hexdigest(), len(target.getvalue()))
    assert PLAIN[:64] not in target.getvalue()
    assert opened(target.getvalue(), folder / "identity.txt") == PLAIN


def test_the_identity_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.txt"
    public = keygen(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert f"# public key: {public}".encode() in before
    with pytest.raises(UsageError, match="never overwritten"):
        keygen(path)
    assert path.read_bytes() == before
    assert Settings(backup_recipient=public).backup_recipient == public


def test_the_command_prints_the_public_key_alone(tmp_path: Path) -> None:
    done = nescord("backup", "keygen", tmp_path / "id.txt")
    assert done.code == 0
    assert "NESCORD_BACKUP_RECIPIENT=age1" in done.out
    assert "SECRET" not in done.out + done.err


def test_each_of_several_keys_opens_it(tmp_path: Path) -> None:
    keys = [keygen(tmp_path / name) for name in ("a", "b")]
    target = io.BytesIO()
    encrypt(io.BytesIO(PLAIN), target, " ".join(keys))
    assert {opened(target.getvalue(), tmp_path / name) for name in ("a", "b")} == {PLAIN}


def test_another_key_opens_nothing(tmp_path: Path, sealed: bytes) -> None:
    keygen(tmp_path / "other.txt")
    with pytest.raises(WrongIdentityError, match="does not open it"):
        opened(sealed, tmp_path / "other.txt")


@given(st.data())
def test_a_flipped_bit_or_a_missing_end_is_never_read_as_data(sealed: bytes, folder: Path, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:place] + bytes([sealed[place] ^ 1 << data.draw(st.integers(0, 7))]) + sealed[place + 1 :]
    for broken in (flipped, sealed[:place]):
        with pytest.raises((DamagedBackupError, WrongIdentityError)):
            opened(broken, folder / "identity.txt")


class FullDisk(io.BytesIO):
    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self.room -= len(content)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return super().write(content)


@pytest.mark.parametrize("room", [0, 100, 70_000, len(PLAIN)])
def test_a_full_disk_is_seen_at_every_byte_also_at_the_last(room: int, key: str, sealed: bytes, folder: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        encrypt(io.BytesIO(PLAIN), FullDisk(room), key)
    if room < len(PLAIN):
        with pytest.raises(OSError, match="No space"):
            decrypt(io.BytesIO(sealed), FullDisk(room).write, read_identities(folder / "identity.txt"), "it")


def test_an_error_of_the_last_write_is_not_dropped(key: str) -> None:
    """pyrage says nothing when what was still in its buffer cannot be written."""
    with pytest.raises(OSError, match="No space"):
        encrypt(io.BytesIO(b"x" * 100), FullDisk(0), key)


@pytest.mark.parametrize("text", ["", "hello", "AGE-SECRET-KEY-1NONSENSE", "age-encryption.org/v1\n-> scrypt\n"])
def test_what_is_no_identity_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "id").write_text(text)
    with pytest.raises(UsageError, match="is no identity file"):
        read_identities(tmp_path / "id")
    with pytest.raises(UsageError, match="cannot be read"):
        read_identities(tmp_path / "missing")


def test_a_private_key_in_the_place_of_the_public_one_is_refused_and_not_shown(folder: Path, key: str) -> None:
    secret = next(line for line in (folder / "identity.txt").read_text().splitlines() if line.startswith("AGE"))
    with pytest.raises(SettingsError) as caught:
        Settings(backup_recipient=secret)
    assert secret not in str(caught.value)
    assert "NESCORD_BACKUP_RECIPIENT" in str(caught.value)


def test_a_key_with_a_mistyped_letter_is_refused(key: str) -> None:
    other = key[:-1] + ("q" if key[-1] != "q" else "p")
    with pytest.raises(BackupError, match="NESCORD_BACKUP_RECIPIENT"):
        encrypt(io.BytesIO(b""), io.BytesIO(), other)
