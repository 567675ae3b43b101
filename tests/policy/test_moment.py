"""What templates know as `request` where no request of a caller is at hand."""

from gateway.policy.moment import ENTROPY, MADE, moment


def test_the_time_in_its_forms_and_random_values_that_are_given() -> None:
    made = moment(1_795_688_100.75, bytes(range(ENTROPY)))
    assert made == {
        "time": "1795688100",
        "time_ms": "1795688100750",
        "iso": "20261126T101500Z",
        "random": "000102030405060708090a0b0c0d0e0f",
        "uuid": "10111213-1415-4617-9819-1a1b1c1d1e1f",
    }
    assert set(made) == set(MADE)
