"""What is sealed opens in its own place, under its own key, unchanged; and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.keyring import (
    Keyring,
    KeyringError,
    create_data_key,
    create_master_key,
    head_of,
    key_id_of,
    unwrap,
    wrap,
)

ONE, TWO, MASTER = b"1" * 32, b"2" * 32, b"m" * 32
HERE = {"table": "connections", "column": "credentials", "row": "crm-ann"}


@pytest.fixture
def keyring() -> Keyring:
    return Keyring({1: ONE})


@given(st.binary(max_size=4096), st.text(), st.text(), st.text())
def test_what_is_sealed_opens_in_its_place(plaintext, table, column, row):
    keyring = Keyring({1: ONE})
    blob = keyring.seal(plaintext, table=table, column=column, row=row)
    assert keyring.open(blob, table=table, column=column, row=row) == plaintext
    assert len(blob) == 1 + 4 + 12 + len(plaintext) + 16


def in_three(text, cuts):
    """Return it cut into a table, a column and a row."""
    first, second = sorted(cut % (len(text) + 1) for cut in cuts)
    return {"table": text[:first], "column": text[first:second], "row": text[second:]}


CUTS = st.tuples(st.integers(0, 7), st.integers(0, 7))


@given(
    st.binary(max_size=64),
    st.text(alphabet="ab\0é1", max_size=6),
    CUTS,
    CUTS,
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_what_is_sealed_for_one_place_under_one_key_opens_in_no_other(plaintext, names, here, there, ids):
    """Not where the three names read the same when run together, either."""
    key_id, other_id = ids
    here, there = in_three(names, here), in_three(names, there)
    keys = {number: bytes([number]) * 32 for number in (1, 2, 3)}
    blob = Keyring({key_id: keys[key_id]}).seal(plaintext, **here)
    opening = Keyring({other_id: keys[other_id]})
    if (here, key_id) == (there, other_id):
        assert opening.open(blob, **there) == plaintext
    else:
        with pytest.raises(KeyringError):
            opening.open(blob, **there)


@given(
    st.binary(max_size=64),
    st.lists(st.tuples(st.integers(0, 6) | st.integers(0, 99), st.integers(1, 3)), max_size=2),
    st.sampled_from([0, 0, 0, -3, -1, 1, 3]),
)
def test_what_is_sealed_and_changed_in_any_bytes_or_its_length_does_not_open(plaintext, changes, longer):
    """Not where the change names another key that is the same, either."""
    keyring = Keyring({0: ONE, 1: ONE, 2: ONE, 3: ONE})
    blob = keyring.seal(plaintext, **HERE)
    changed = bytearray(blob)
    for place, bits in changes:
        changed[place % len(blob)] ^= bits
    other = bytes(changed[:longer] if longer < 0 else changed + bytes(longer))
    if other == blob:
        assert keyring.open(other, **HERE) == plaintext
    else:
        with pytest.raises(KeyringError):
            keyring.open(other, **HERE)


@pytest.mark.parametrize("other", [{"table": "clients"}, {"column": "fields"}, {"row": "crm-bob"}])
def test_a_blob_does_not_open_in_another_place(keyring, other):
    blob = keyring.seal(b"token", **HERE)
    with pytest.raises(KeyringError):
        keyring.open(blob, **(HERE | other))


def test_places_that_read_the_same_when_run_together_are_not_the_same(keyring):
    blob = keyring.seal(b"token", table="ab", column="c", row="d")
    with pytest.raises(KeyringError):
        keyring.open(blob, table="a", column="bc", row="d")


def test_a_blob_with_any_bit_changed_does_not_open(keyring):
    blob = keyring.seal(b"token", **HERE)
    for place in range(len(blob)):
        changed = bytearray(blob)
        changed[place] ^= 1
        with pytest.raises(KeyringError):
            keyring.open(bytes(changed), **HERE)


@pytest.mark.parametrize("length", [0, 1, 5, 17, 32])
def test_a_blob_that_is_cut_short_does_not_open(keyring, length):
    with pytest.raises(KeyringError, match="too short"):
        keyring.open(keyring.seal(b"", **HERE)[:length], **HERE)


def test_the_same_text_is_never_sealed_to_the_same_bytes(keyring):
    assert len({keyring.seal(b"token", **HERE)[5:17] for _ in range(1000)}) == 1000


def test_the_newest_key_seals_and_every_key_opens():
    old = Keyring({1: ONE}).seal(b"token", **HERE)
    both = Keyring({1: ONE, 2: TWO})
    new = both.seal(b"token", **HERE)
    assert (key_id_of(old), key_id_of(new), both.newest, both.ids) == (1, 2, 2, (1, 2))
    assert both.open(old, **HERE) == both.open(new, **HERE) == b"token"
    assert (old.startswith(head_of(1)), new.startswith(head_of(2))) == (True, True)


def test_a_key_that_is_added_seals_from_then_on_and_the_others_go_on_opening():
    ring = Keyring({1: ONE})
    old = ring.seal(b"token", **HERE)
    ring.add({2: TWO})
    assert key_id_of(ring.seal(b"token", **HERE)) == ring.newest == 2
    assert ring.open(old, **HERE) == b"token"
    assert (ring.knows({1, 2}), ring.knows({1, 3})) == (True, False)


def test_a_key_that_is_not_in_the_ring_is_named(keyring):
    blob = Keyring({7: TWO}).seal(b"token", **HERE)
    with pytest.raises(KeyringError, match="data key 7"):
        keyring.open(blob, **HERE)


def test_the_same_bytes_under_another_key_id_do_not_open():
    blob = bytearray(Keyring({1: ONE}).seal(b"token", **HERE))
    blob[4] = 2
    with pytest.raises(KeyringError):
        Keyring({2: ONE}).open(bytes(blob), **HERE)


def test_a_data_key_is_wrapped_by_the_master_key_alone():
    wrapped = wrap(MASTER, 3, ONE)
    assert ONE not in wrapped
    assert unwrap(MASTER, 3, wrapped) == ONE
    with pytest.raises(KeyringError):
        unwrap(b"x" * 32, 3, wrapped)
    with pytest.raises(KeyringError):
        unwrap(MASTER, 4, wrapped)


def test_a_wrapped_key_is_no_sealed_value():
    with pytest.raises(KeyringError):
        Keyring({3: MASTER}).open(wrap(MASTER, 3, ONE), table="data_keys", column="wrapped", row="3")


def test_every_byte_of_a_long_master_key_counts():
    wrapped = wrap(b"k" * 64, 1, ONE)
    with pytest.raises(KeyringError):
        unwrap(b"k" * 63 + b"x", 1, wrapped)


def test_a_master_key_that_is_too_short_is_refused():
    with pytest.raises(KeyringError, match="at least 32 bytes; this one has 8"):
        wrap(b"password", 1, ONE)


def test_a_data_key_of_another_length_is_refused():
    with pytest.raises(KeyringError, match="32 bytes"):
        Keyring({1: b"short"})
    with pytest.raises(KeyringError, match="32 bytes"):
        wrap(MASTER, 1, b"short")


def test_a_keyring_without_keys_is_refused():
    with pytest.raises(KeyringError):
        Keyring({})


def test_new_keys_are_32_bytes_and_differ():
    keys = {create_data_key(), create_data_key(), create_master_key(), create_master_key()}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 4


def test_no_key_shows_in_a_repr_or_an_error(keyring):
    assert repr(keyring) == "Keyring(ids=[1])"
    with pytest.raises(KeyringError) as caught:
        keyring.open(Keyring({1: TWO}).seal(b"token", **HERE), **HERE)
    assert "1111" not in str(caught.value)
    assert "token" not in str(caught.value)
