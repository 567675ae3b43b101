"""The sheet: what the form of a set-up page holds.

The form has three kinds of inputs. The policy's are named as in `authoring.form`. The page's own begin with a word and
a dot (`try.connection`). A secret is typed into `secret.…`; what a page carries of it from then on, until it is saved,
stands sealed in `sealed.…`, and is good for this app and this input alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.authoring import form
from gateway.authoring.names import CREDENTIALS, begins
from gateway.authoring.rows import numbered
from gateway.policy.load import Finding, load
from gateway.policy.model import Grant, Policy
from gateway.secret import Secret
from gateway.vault.credentials import Safe

TYPED, SEALED = "secret.", "sealed."
OWN = ("try.", "check.", "preview.", "pick.", TYPED, SEALED)
"""How the names of the page's own inputs begin."""
_USELESS: Mapping[Grant, tuple[str, ...]] = {
    **dict.fromkeys(
        (Grant.API_KEY, Grant.BASIC, Grant.NONE),
        ("auth.authorize", "auth.device", "auth.token", "auth.refresh", "auth.revoke"),
    ),
    **dict.fromkeys((Grant.AUTHORIZATION_CODE, Grant.IMPLICIT), ("auth.device",)),
    **dict.fromkeys(
        (Grant.PASSWORD, Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER, Grant.JWT, Grant.CUSTOM),
        ("auth.authorize", "auth.device"),
    ),
    Grant.DEVICE_CODE: ("auth.authorize",),
    Grant.OAUTH1: ("auth.device", "auth.refresh", "auth.revoke"),
}
"""What a grant has no use for, so that its checks refuse it. It stays on the page, and is left out of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One form. `base` is the text that it began with; `is_new`: there was no file.

    `judged`: it was looked at before, so that what is missing is said beside its field. `lost` names the inputs whose
    sealed secret can't be opened any more: they must be typed again.
    """

    app: str
    base: str
    is_new: bool
    values: Mapping[str, str]
    own: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, Secret] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    judged: bool = False

    @classmethod
    def of_text(cls, app: str, text: str, *, is_new: bool = False) -> "Sheet":
        """Return the form of a policy's text. Raises `form.Unreadable`: it is no TOML."""
        return cls(app=app, base=text, is_new=is_new, values=form.values_of(text))

    @classmethod
    def of_form(cls, app: str, posted: Mapping[str, str], safe: Safe) -> "Sheet":
        """Return a form that came back."""
        typed = {name[len(TYPED) :]: Secret(value) for name, value in posted.items() if _is(name, TYPED) and value}
        lost = []
        for name, carried in posted.items():
            place = name.removeprefix(SEALED)
            if _is(name, SEALED) and carried and place not in typed:
                secret = safe.kept(f"{app}/{place}", carried)
                if secret is None:
                    lost.append(place)
                else:
                    typed[place] = secret
        values = {name: value for name, value in posted.items() if not name.startswith(OWN) and "." in name}
        values |= {name: posted[name] for name in ("name", "base_url") if name in posted}
        return cls(
            app=app,
            base=posted.get("base", ""),
            is_new=bool(posted.get("new")),
            values=_with_names_of_secrets(numbered(values), typed),
            own={name: value for name, value in posted.items() if _is(name, *OWN) and not _is(name, TYPED, SEALED)},
            typed=typed,
            lost=tuple(lost),
            judged=bool(posted.get("judged")),
        )

    def with_values(self, values: Mapping[str, str]) -> "Sheet":
        """Return the sheet with other values of the policy."""
        return replace(self, values=numbered(values))

    @property
    def grant(self) -> Grant | None:
        """How connections get their credentials; None where it isn't one that is known."""
        text = self.values.get("auth.grant", "")
        return Grant(text) if text in tuple(Grant) else None

    @property
    def wanted(self) -> dict[str, str]:
        """The values for the file: without what the grant has no use for."""
        useless = _USELESS.get(self.grant, ()) if self.grant else ()
        return {name: value for name, value in self.values.items() if not begins(name, useless)}

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names that have values on the page and none in the file."""
        return tuple(name for name, value in self.values.items() if value and name not in self.wanted)

    def text(self) -> str:
        """Return the file's text as it would be. Raises `form.Unreadable`: what it began with is no TOML."""
        return form.apply(self.base, self.wanted)

    def sealed(self, safe: Safe) -> dict[str, str]:
        """Return what the page carries of the secrets that were typed."""
        return {place: safe.keep(f"{self.app}/{place}", secret) for place, secret in self.typed.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a sheet comes to: the text, the policy where nothing is wrong with it, and every fault."""

    text: str
    policy: Policy | None
    findings: tuple[Finding, ...]


def read(sheet: Sheet) -> Read:
    """Put the sheet into its text and check that. Raises `form.Unreadable`."""
    text = sheet.text()
    loaded = load(text, app=sheet.app, file=f"{sheet.app}.toml")
    return Read(text=text, policy=loaded.policy, findings=loaded.findings)


def _is(name: str, *beginnings: str) -> bool:
    return name.startswith(beginnings)


def _with_names_of_secrets(values: dict[str, str], typed: Mapping[str, Secret]) -> dict[str, str]:
    """Give a secret that was typed a name, where it has none yet."""
    for name in CREDENTIALS:
        is_sealed = values.get(f"{name}.kind", "secret") in ("", "secret")
        if name in typed and is_sealed and not values.get(f"{name}.value"):
            values |= {f"{name}.kind": "secret", f"{name}.value": name.rpartition(".")[2]}
    return values
