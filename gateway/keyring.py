"""Seal and open what must not be read from the store: AES-256-GCM under data keys that a master key wraps.

A sealed blob is `version (1 byte) | key id (4, big-endian) | nonce (12) | ciphertext and tag`. Its associated data
names the table, the column, the row and the key id, so that no blob opens in another's place. Writing uses the newest
key, reading any key of the ring. Nothing here does I/O; the nonces and keys come from the operating system's generator.
"""

import os
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D §5.2.1.1: the length that GCM is made for
TAG_BYTES = 16
MASTER_MIN_BYTES = 32  # as strong as what it wraps; a shorter one is a password, and we don't stretch passwords
_ID_BYTES = 4
_HEAD_BYTES = 1 + _ID_BYTES
_WRAP_PLACE = ("data_keys", "wrapped")


class KeyringError(Exception):
    """A blob can't be opened: another key, another place, or changed bytes. The text never holds any of them."""


class Keyring:
    """The data keys in use, by id. `newest` seals; every one of them opens.

    Keys may be added while others use it, also in threads. None is ever taken out: a value that was read before a
    rotation ended opens behind it as well, for as long as this process lives.
    """

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys:
            raise KeyringError("a keyring needs at least one data key")
        self._ciphers: dict[int, AESGCM] = {}
        self.add(keys)

    def __repr__(self) -> str:
        return f"Keyring(ids={sorted(self._ciphers)})"

    def add(self, keys: Mapping[int, bytes]) -> None:
        """Take up further keys."""
        self._ciphers = self._ciphers | {key_id: AESGCM(_checked(key)) for key_id, key in keys.items()}
        self.newest = max(self._ciphers)

    def knows(self, key_ids: Iterable[int]) -> bool:
        """Whether what is sealed with any of these keys opens."""
        return self._ciphers.keys() >= set(key_ids)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the keys that can open, oldest first."""
        return tuple(sorted(self._ciphers))

    def seal(self, plaintext: bytes, *, table: str, column: str, row: str) -> bytes:
        """Return `plaintext` sealed for one place, under the newest key."""
        key_id = self.newest
        return _seal(self._ciphers[key_id], key_id, plaintext, (table, column, row))

    def open(self, blob: bytes, *, table: str, column: str, row: str) -> bytes:
        """Return what was sealed for this place. Raises `KeyringError`."""
        cipher = self._ciphers.get(key_id_of(blob))
        if cipher is None:
            raise KeyringError(f"sealed with data key {key_id_of(blob)}, which is not in the keyring")
        return _open(cipher, blob, (table, column, row))


def key_id_of(blob: bytes) -> int:
    """Return the id of the data key that `blob` is sealed with. Raises `KeyringError` if it is no sealed blob."""
    if len(blob) < _HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
        raise KeyringError("too short to be sealed")
    if blob[0] != VERSION:
        raise KeyringError(f"sealed in form {blob[0]}; this gateway knows form {VERSION}")
    return int.from_bytes(blob[1:_HEAD_BYTES], "big")


def head_of(key_id: int) -> bytes:
    """Return what every blob sealed with this data key begins with; in the order of the ids."""
    return bytes([VERSION]) + key_id.to_bytes(_ID_BYTES, "big")


def create_master_key() -> bytes:
    """Return a new master key: 32 random bytes, for the one who keeps it to encode."""
    return os.urandom(KEY_BYTES)


def create_data_key() -> bytes:
    """Return a new data key: 32 random bytes."""
    return os.urandom(KEY_BYTES)


def wrap(master: bytes, key_id: int, data_key: bytes) -> bytes:
    """Return the data key sealed by the master key, as `data_keys.wrapped` keeps it."""
    return _seal(_wrapping(master), key_id, _checked(data_key), (*_WRAP_PLACE, str(key_id)))


def unwrap(master: bytes, key_id: int, wrapped: bytes) -> bytes:
    """Return the data key. Raises `KeyringError` when `master` isn't the key that wrapped it."""
    if key_id_of(wrapped) != key_id:
        raise KeyringError(f"data key {key_id} is stored under another id")
    return _open(_wrapping(master), wrapped, (*_WRAP_PLACE, str(key_id)))


def _wrapping(master: bytes) -> AESGCM:
    # HKDF (RFC 5869), so that a master key of any form and length ≥ 32 is used whole and for this purpose alone.
    if len(master) < MASTER_MIN_BYTES:
        raise KeyringError(f"a master key has at least {MASTER_MIN_BYTES} bytes; this one has {len(master)}")
    derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"connection-gateway data key wrapping")
    return AESGCM(derive.derive(master))


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise KeyringError(f"a data key has {KEY_BYTES} bytes; this one has {len(key)}")
    return key


def _seal(cipher: AESGCM, key_id: int, plaintext: bytes, place: tuple[str, ...]) -> bytes:
    head = head_of(key_id)
    nonce = os.urandom(NONCE_BYTES)
    return head + nonce + cipher.encrypt(nonce, plaintext, _associated(head, place))


def _open(cipher: AESGCM, blob: bytes, place: tuple[str, ...]) -> bytes:
    head, nonce, sealed = blob[:_HEAD_BYTES], blob[_HEAD_BYTES:][:NONCE_BYTES], blob[_HEAD_BYTES + NONCE_BYTES :]
    try:
        return cipher.decrypt(nonce, sealed, _associated(head, place))
    except InvalidTag:
        raise KeyringError(f"{place[0]}.{place[1]} does not open: another key, another row, or changed bytes") from None


def _associated(head: bytes, place: tuple[str, ...]) -> bytes:
    # Each part is led by its length: ("ab", "c") and ("a", "bc") must not be the same bytes.
    parts = [head, *(part.encode() for part in place)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
