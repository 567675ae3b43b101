"""The steps of setting up an app are the seeds', in their order."""

import pytest

from gateway.authoring.names import CREDENTIALS, LISTS, SINGLE, TABLES
from gateway.authoring.steps import APP, steps
from gateway.policy.model import Grant

LAST = ["test", "label", "allow", "unique_id", "inject", "connect"]


@pytest.mark.parametrize(
    ("grant", "ids"),
    [
        (
            Grant.AUTHORIZATION_CODE,
            ["fields", "redirect", "credentials", "login", "token", "refresh", "revoke", *LAST],
        ),
        (Grant.IMPLICIT, ["fields", "redirect", "credentials", "login", "refresh", "revoke", *LAST]),
        (Grant.PASSWORD, ["fields", "credentials", "token", "refresh", "revoke", *LAST]),
        (Grant.CLIENT_CREDENTIALS, ["fields", "credentials", "token", "refresh", "revoke", *LAST]),
        (Grant.DEVICE_CODE, ["fields", "credentials", "device", "token", "refresh", "revoke", *LAST]),
        (Grant.JWT_BEARER, ["fields", "credentials", "token", "refresh", "revoke", *LAST]),
        (Grant.JWT, ["fields", "credentials", *LAST]),
        (Grant.CUSTOM, ["fields", "credentials", "token", "refresh", "revoke", *LAST]),
        (Grant.OAUTH1, ["fields", "redirect", "credentials", "login", "token", *LAST]),
        (Grant.API_KEY, ["fields", *LAST]),
        (Grant.BASIC, ["fields", *LAST]),
        (Grant.NONE, ["fields", *LAST]),
    ],
)
def test_each_grant_has_its_steps_in_the_seeds_order(grant: Grant, ids: list[str]) -> None:
    assert [step.id for step in steps(grant)] == ids


@pytest.mark.parametrize(
    ("grant", "optional"),
    [
        (Grant.AUTHORIZATION_CODE, {"fields", "refresh", "revoke", "unique_id"}),
        (Grant.IMPLICIT, {"fields", "refresh", "revoke", "unique_id"}),
        (Grant.PASSWORD, {"credentials", "refresh", "revoke", "unique_id"}),
        (Grant.CLIENT_CREDENTIALS, {"refresh", "revoke", "unique_id"}),
        (Grant.DEVICE_CODE, {"fields", "refresh", "revoke", "unique_id"}),
        (Grant.JWT_BEARER, {"fields", "credentials", "refresh", "revoke", "unique_id"}),
        (Grant.JWT, {"fields", "credentials", "unique_id"}),
        (Grant.CUSTOM, {"fields", "credentials", "refresh", "revoke", "unique_id"}),
        (Grant.OAUTH1, {"fields", "unique_id", "inject"}),
        (Grant.API_KEY, {"unique_id"}),
        (Grant.BASIC, {"unique_id", "inject"}),
        (Grant.NONE, {"fields", "test", "unique_id", "inject"}),
    ],
)
def test_only_what_can_be_left_out_is_optional(grant: Grant, optional: set[str]) -> None:
    assert {step.id for step in steps(grant) if step.optional} == optional


def test_every_name_of_the_form_is_edited_in_one_step() -> None:
    known = {step.id: step for grant in Grant for step in steps(grant)}
    beginnings = [*APP, *(name for step in known.values() for name in step.names)]
    for name in (*SINGLE, *LISTS, *TABLES, *CREDENTIALS, "fields"):
        assert len([one for one in beginnings if name == one or name.startswith(f"{one}.")]) == 1, name
