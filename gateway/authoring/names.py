"""The names that the form has, by what stands behind them. `form` says how each is written."""

ON = "on"
SOURCES = ("secret", "env", "file", "field")
TEXTS = (
    "name",
    "base_url",
    "auth.grant",
    "auth.authorize.url",
    "auth.authorize.issuer",
    "auth.authorize.scope_separator",
    "auth.authorize.pkce",
    "auth.device.url",
    "auth.device.scope_separator",
    "auth.token.url",
    "auth.token.client_auth",
    "auth.token.format",
    "auth.token.success_when",
    "auth.token.error",
    "auth.token.margin",
    "auth.token.default_ttl",
    "auth.refresh.url",
    "auth.refresh.margin",
    "auth.refresh.default_ttl",
    "auth.revoke.url",
    "auth.revoke.token",
    "test.method",
    "test.url",
    "test.expect.path",
    "connection.label",
    "connection.unique_id",
)
SPANS = frozenset({"margin", "default_ttl"})  # a number of seconds is no text in the file
BOXES = ("connection.mask",)
CREDENTIALS = ("auth.client_id", "auth.client_secret")
LISTS = ("allow.urls", "allow.deny")  # a name for each item
LINES = ("allow.methods", "auth.authorize.scopes", "auth.device.scopes")  # one text, an item on each line
NUMBERS = ("test.expect.status",)
JSONS = ("test.body",)
TABLES = (
    "auth.authorize.params",
    "auth.device.params",
    "auth.token.params",
    "auth.token.headers",
    "auth.token.response",
    "inject.headers",
    "inject.query",
    "inject.body",
)
FIELD_LISTS = ("choices", "domains")  # one text, an item on each line
FIELD_TEXTS = (
    *("name", "label", "help", "kind", *FIELD_LISTS, "pattern", "default"),
    *("example", "docs", "prefix", "suffix", "group", "from"),
)
FIELD_BOXES = {  # and what holds where the file doesn't say
    "required": True,
    "secret": False,
    "once": False,
    "hidden": False,
}
KEPT_EMPTY = frozenset({"allow.urls"})  # a file must have it: that it is empty says more than that it is missing
SINGLE = frozenset(
    [
        *TEXTS,
        *BOXES,
        *LINES,
        *NUMBERS,
        *JSONS,
        *(f"{name}.{part}" for name in CREDENTIALS for part in ("kind", "value")),
    ]
)


def begins(name: str, beginnings: tuple[str, ...]) -> bool:
    """Whether a name is one of these, or stands below one."""
    return any(name == one or name.startswith(f"{one}.") for one in beginnings)
