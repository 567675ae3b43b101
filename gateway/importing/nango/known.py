"""What nango does by its own code, for providers of which its list doesn't say it: facts, in the policy's keys.

Who gets tokens from such a provider finds them in its own documentation; what stands here is no more than that.
"""

from collections.abc import Mapping
from typing import Any

from gateway.importing.draft import Draft
from gateway.importing.nango.fields import Fields

NOT: Mapping[str, str] = {
    "braintree": "Braintree's own library gets the token",
    "braintree-sandbox": "Braintree's own library gets the token",
    "microsoft-admin": "an administrator's consent, and after it the client's own credentials",
    "sentry-oauth": "the code comes by a webhook of the installation",
    "shopline-oauth": "the token request is signed",
}
"""Providers that can't be had, and why."""

FOUND: Mapping[str, Mapping[str, str]] = {
    "basecamp": {"accountId": "lookup.accounts[0].id"},
    "mailchimp": {"dc": "lookup.dc"},
    "sophos-central": {"dataRegion": "lookup.apiHosts.dataRegion", "tenantId": "lookup.id"},
}
"""Values that nango finds by a program, and where they are in the answer of a look-up."""

OF_NO_USE = frozenset(
    {
        *("alias", "docs", "docs_connect", "categories", "setup_guide_url", "available_scopes", "integration_config"),
        *("webhook_routing_script", "webhook_response_metadata", "webhook_user_defined_secret"),
        *("webhook_allowed_query_params", "pre_connection_deletion_script", "auth", "auth_type", "installation"),
        *("connection_configuration", "registration_params", "decode_url", "authorization_url_skip_empty"),
        *("authorization_url_skip_encode", "authorization_code_param_in_webhook"),
    }
)
"""For nango's own pages, webhooks and clients; or what is so here anyway, such as leaving out what is empty."""
OF_NO_USE_TO: Mapping[str, tuple[str, ...]] = {
    "APP": ("authorization_url",),
    "OAUTH1": ("scope_separator",),
    "OAUTH2_CC": ("authorization_url",),
}
"""What some entries have, and their own mode has no use for."""
_SPEC = (
    *("title", "description", "type", "format", "example", "pattern", "default_value", "enum", "hidden", "optional"),
    *("automated", "secret", "order", "prefix", "suffix", "doc_section"),
)
BELOW: Mapping[str, tuple[str, ...]] = {
    "proxy": (
        *("base_url", "headers", "query", "body", "retry", "verification"),
        *("connection_config", "decompress", "forward_headers_on_redirect", "paginate"),  # of no use here
    ),
    "proxy.retry": ("after", "at", "in_body", "error_code", "remaining"),
    "proxy.verification": ("method", "endpoints", "base_url_override", "headers", "data"),
    "token_response": ("token", "refresh_token", "token_expiration", "token_expiration_strategy"),
    "additional_steps.*": ("token_url", "token_params", "token_headers", "token_request_method", "body_format"),
    "assertion": ("type", "key", "lifetimeInSeconds", "header", "payload", "singleUse"),  # the last is so anyway
    "token": ("signing_key", "expires_in_ms", "header", "payload"),
    "signature": ("protocol", "hmac_secret_encoding"),
    "connection_config.*": _SPEC,
    "credentials.*": _SPEC,
    "assertion_option.*": _SPEC,
}
"""What the tables of an entry may have in them; the star is any key of theirs, or a place in a list."""
_LACKS: Mapping[str, str] = {
    "agiloft": "a renewal that sends a part of the app's secret",
    "followupboss": "a token request that repeats the login's state",
    "microsoft-teams-bot": "a second token beside the first, or instead of it",
}
_DATA = {name: f"data.{name}" for name in ("access_token", "refresh_token", "expires_in", "scope", "token_type")}
_PUBLIC = {"auth.client_secret": None, "auth.token.client_auth": "none"}
_STRIPE = {
    "auth.token.client_auth": "none",
    "auth.token.params": {"client_id": False},
    "auth.token.headers": {"Authorization": "Basic {{ (app.client_secret ~ ':') | b64encode }}"},
    "auth.token.default_ttl": "1h",
}


def _long_lived(host: str, word: str) -> dict[str, Any]:
    """Meta's exchange of a token that lasts an hour for one that lasts two months, and its renewal."""
    query = {"method": "GET", "format": "query"}
    exchange = {"access_token": "{{ access_token }}", "client_secret": "{{ app.client_secret }}"}
    return {
        "auth.authorize.pkce": "off",
        "auth.exchange": {
            "url": f"https://{host}/access_token",
            **query,
            "params": {"grant_type": f"{word}_exchange_token", **exchange},
        },
        "auth.refresh": {
            "url": f"https://{host}/refresh_access_token",
            "token": "access_token",
            **query,
            "client_auth": "none",
            "params": {"grant_type": f"{word}_refresh_token"},
        },
    }


_COROS = {"auth.authorize.pkce": "off", "auth.refresh.extends": True, "auth.refresh.default_ttl": "30d"}
_PATCHES: Mapping[str, Mapping[str, Any]] = {
    "absorb-lms": {
        "auth.token.headers": {"x-api-version": "{{ api_version }}", "x-api-key": "{{ rest_api_key }}"},
        "auth.token.params": {"nonce": "{{ request.uuid }}"},
    },
    "adobe-umapi": {"inject.headers.x-api-key": "{{ app.client_id }}"},
    "basecamp": {"lookup.url": "https://launchpad.37signals.com/authorization.json"},
    "bullhorn": {
        "auth.authorize.params": None,
        "auth.authorize.pkce": "off",
        "auth.token.format": "query",
        "auth.exchange": {
            "url": "https://rest-west.bullhornstaffing.com/rest-services/login",
            "format": "query",
            "params": {"version": "*", "access_token": "{{ access_token }}", "ttl": "10080"},
            "response": {"access_token": "BhRestToken"},
        },
    },
    "clover": {
        "auth.token.params": {"grant_type": False, "redirect_uri": False},
        "auth.token.response": {"expires_in": "access_token_expiration"},
        "auth.token.expires": "at",
        "auth.refresh.client_auth": "none",
        "auth.refresh.params": {"grant_type": False},
    },
    "coros": _COROS,
    "coros-sandbox": _COROS,
    "exact-online": {"limits.reset.format": "at_milliseconds"},
    "facebook": {
        "auth.token.method": "GET",
        "auth.token.format": "query",
        "auth.refresh": {
            "token": "access_token",
            "names": {"access_token": "fb_exchange_token"},
            "params": {"grant_type": "fb_exchange_token"},
        },
    },
    "fanvue": {"auth.token.client_auth": "basic"},
    "heygen": _PUBLIC,
    "instagram": _long_lived("graph.instagram.com", "ig"),
    "jobber": {"auth.token.default_ttl": "1h"},
    "linear": {"limits.reset.format": "at_milliseconds"},
    "mailchimp": {"lookup.url": "https://login.mailchimp.com/oauth2/metadata"},
    "posthog-oauth": _PUBLIC,
    "revolut-business": {
        "auth.client_secret": None,
        "auth.token.client_auth": "jwt",
        "auth.assertion": {
            "algorithm": "RS256",
            "key": {"secret": "private_key"},
            "issuer": "{{ redirect_host }}",
            "subject": "{{ app.client_id }}",
            "audience": "https://revolut.com",
        },
    },
    "slack": {"auth.token.success_when": "ok", "auth.token.error": "error"},
    "sophos-central": {"lookup.url": "https://api.central.sophos.com/whoami/v1"},
    "stripe-app": _STRIPE,
    "stripe-app-sandbox": _STRIPE,
    "tableau": {"auth.token.response": {"access_token": "credentials.token"}, "auth.token.expires": None}
    | {"auth.token.default_ttl": "2h"},
    "threads": _long_lived("graph.threads.net", "th"),
    "tiktok-accounts": {
        "auth.authorize.pkce": "off",
        "auth.token.format": "json",
        "auth.token.names": {"code": "auth_code"},
        "auth.token.response": _DATA,
    },
    "tiktok-ads": {
        "auth.authorize.pkce": "off",
        "auth.token.format": "json",
        "auth.token.names": {"client_id": "app_id", "client_secret": "secret", "code": "auth_code"},
        "auth.token.params": {"grant_type": False, "redirect_uri": False},
        "auth.token.response": {"access_token": "data.access_token"},
    },
    "tiktok-personal": {"auth.authorize.pkce": "off", "auth.token.names": {"client_id": "client_key"}},
    "walmart": {
        "auth.token.client_auth": "basic",
        "auth.token.headers": {
            "WM_SVC.NAME": "Walmart Marketplace",
            "WM_QOS.CORRELATION_ID": "{{ request.uuid }}",
            "WM_PARTNER.ID": "{{ seller_id }}",
        },
    },
    "workday-oauth": {"auth.token.default_ttl": "1h"},
}
_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "revolut-business": {"name": "redirect_host", "label": "Host of the redirect URL", "kind": "host"},
    "walmart": {"name": "seller_id", "label": "Seller ID", "from": "{{ callback.sellerId }}"},
}
_UNUSED: Mapping[str, tuple[str, ...]] = {"bullhorn": ("username", "password"), "adobe-umapi": ("clientId",)}
"""What nango asks for that is of no use with what is known."""


def apply(name: str, draft: Draft, fields: Fields) -> None:
    """Lay what is known of a provider over its draft."""
    for path, value in _PATCHES.get(name, {}).items():
        if value is None:
            draft.drop(path)
        else:
            draft.put(path, value)
    if url := draft.get("lookup.url"):
        draft.policy["allow"]["urls"].append(url)
    if what := _LACKS.get(name):
        draft.lack(what)
    if field := _FIELDS.get(name):
        fields.own(**field)
    for key in _UNUSED.get(name, ()):
        fields.forget(key)
        draft.lacks = [lack for lack in draft.lacks if lack.detail != key]
