"""What [limits] and [retry] come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.limits import Limits, Quota, Retry, in_words


@pytest.mark.parametrize(
    ("given", "at_once", "interval"),
    [
        ({"requests_per_second": 5}, 5, 0.2),
        ({"requests_per_second": 2.5}, 3, 0.4),
        ({"requests_per_second": 0.1}, 1, 10.0),
        ({"requests_per_second": 5, "burst": 1}, 1, 0.2),
        ({"concurrency": 3}, 1, 0.0),
    ],
)
def test_a_quota_without_a_burst_lets_what_one_second_brings_through_at_once(
    given: dict[str, float], at_once: int, interval: float
) -> None:
    quota = Quota.model_validate(given)
    assert (quota.at_once, quota.interval) == (at_once, interval)


@pytest.mark.parametrize(
    ("tried", "asked", "chance", "delay"),
    [
        (1, 0.0, 0.0, 0.0),
        (1, 0.0, 1.0, 0.25),
        (2, 0.0, 1.0, 0.5),
        (3, 0.0, 0.5, 0.5),
        (4, 0.0, 1.0, None),  # four in all
        (1, 2.0, 0.0, 2.0),
        (1, 2.0, 1.0, 2.25),
        (2, 2.9, 1.0, 3.0),  # never longer than max_wait
        (1, 3.1, 0.0, None),  # the service wants a longer wait than the policy
    ],
)
def test_a_try_is_put_off_by_chance_and_never_by_less_than_the_service_asked_for(
    tried: int, asked: float, chance: float, delay: float | None
) -> None:
    assert Retry(attempts=4, max_wait=3.0).delay(tried=tried, asked=asked, chance=chance) == delay


@given(st.integers(1, 9), st.floats(0, 60), st.floats(0, 1))
def test_a_delay_keeps_both_bounds(tried: int, asked: float, chance: float) -> None:
    retry = Retry(attempts=10, max_wait=10.0)
    delay = retry.delay(tried=tried, asked=asked, chance=chance)
    assert delay is None if asked > 10 else delay is not None and asked <= delay <= 10


def test_both_are_said_in_words() -> None:
    limits = Limits(wait=2.0, connection=Quota(requests_per_second=5, concurrency=4), app=Quota(concurrency=9))
    assert in_words(limits, Retry()) == (
        "5 requests per second (5 at once), 4 under way at a time for the connection; "
        "9 under way at a time for the app; waits 2s at most; tried 3 times where the service is unwell"
    )
    assert in_words(Limits(), None) == "doesn't wait"
    assert in_words(None, None) is None
