"""Attempts: ten wrong ones, then one each six seconds, for each network and in bounded memory."""

import pytest

from gateway.attempts import BURST, EVERY, MOST, Attempts, network_of


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def use_up(attempts: Attempts, address: str = "192.0.2.1") -> None:
    for _ in range(BURST):
        assert attempts.wait(address) == 0
        attempts.failed(address)


def test_after_ten_one_more_each_six_seconds(attempts, clock):
    use_up(attempts)
    for _ in range(3):
        assert attempts.wait("192.0.2.1") == 6
        clock.now += EVERY - 0.5
        assert attempts.wait("192.0.2.1") == 1
        clock.now += 0.5
        assert attempts.wait("192.0.2.1") == 0
        attempts.failed("192.0.2.1")


def test_after_a_minute_without_a_try_all_ten_are_there_again(attempts, clock):
    use_up(attempts)
    clock.now += BURST * EVERY
    use_up(attempts)
    assert attempts.wait("192.0.2.1") == 6


def test_another_address_has_its_own(attempts):
    use_up(attempts)
    assert attempts.wait("192.0.2.2") == 0


def test_a_clock_that_was_set_back_by_a_year_locks_nobody_out_for_longer(attempts, clock):
    use_up(attempts)
    clock.now -= 365 * 86_400
    assert attempts.wait("192.0.2.1") == EVERY


def test_no_more_than_so_many_addresses_are_remembered_and_the_oldest_is_forgotten(attempts):
    use_up(attempts, "198.51.100.1")
    use_up(attempts, "198.51.100.2")
    for number in range(MOST - 1):
        attempts.failed(f"10.0.{number >> 8}.{number & 255}")
    assert len(attempts._full_at) == MOST
    assert attempts.wait("198.51.100.1") == 0
    assert attempts.wait("198.51.100.2") > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::1", "::"),
        ("", ""),
        (None, ""),
        ("/run/gateway.sock", ""),
    ],
)
def test_what_shares_a_bucket(address, network):
    assert network_of(address) == network
