"""What a test may ask of the provider besides OAuth: applications, revocation behind a client's back, held calls.

The endpoints themselves are django-oauth-toolkit's, untouched; a middleware in front of them counts the token calls of
each client id, can hold them until they are let go, and remembers every secret that was sent, for the search for them.
`me` is the API that a token opens.
"""

import base64
import json
import threading
from collections import Counter
from datetime import timedelta
from urllib.parse import unquote

from django.http import JsonResponse

TOKEN_PATH = "/o/token/"
REVOKE_PATH = "/o/revoke_token/"
SECRET_PARAMS = ("code", "code_verifier", "refresh_token", "password", "token", "client_secret", "device_code")
LONGEST_WAIT = 20.0

_changed = threading.Condition()
_calls: Counter[str] = Counter()
_answered: Counter[str] = Counter()
_held: set[str] = set()
_lifetimes: dict[str, int] = {}
_sent: set[str] = set()


def lifetime(request):
    """Return how many seconds the token that is being issued lives: the client's own figure, else an hour."""
    return _lifetimes.get(request.client_id, 3600)


def _client_id(request):
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return unquote(base64.b64decode(value).decode().partition(":")[0])
    return request.POST.get("client_id", "")


class TokenCalls:
    """Counts the token endpoint's calls, holds those of clients that a test holds, and notes the secrets sent."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.path in (TOKEN_PATH, REVOKE_PATH):
            _sent.update(request.POST[name] for name in SECRET_PARAMS if request.POST.get(name))
        if request.path != TOKEN_PATH:
            return self.get_response(request)
        client_id = _client_id(request)
        with _changed:
            _calls[client_id] += 1
            _changed.notify_all()
            _changed.wait_for(lambda: client_id not in _held, LONGEST_WAIT)
        response = self.get_response(request)
        with _changed:
            _answered[client_id] += 1
            _changed.notify_all()
        return response


def me(request):
    """Say whose token this is: a person's, or an application's own. Needs the scope `read` (RFC 6750).

    A POST must bring a web site, which is of no use: as with services that have nothing else to test with.
    """
    from oauth2_provider.oauth2_backends import get_oauthlib_core  # noqa: PLC0415 - needs the app registry

    valid, asked = get_oauthlib_core().verify_request(request, scopes=["read"])
    if not valid:
        return JsonResponse({"error": "invalid_token"}, status=401)
    if request.method == "POST" and not json.loads(request.body).get("website"):
        return JsonResponse({"error": "website is missing"}, status=422)
    if asked.user is None:
        return JsonResponse({"id": f"app-{asked.client.pk}", "profile": {"real_name": asked.client.name}})
    person = asked.user
    return JsonResponse({"id": f"user-{person.pk}", "profile": {"real_name": person.get_full_name()}})


def control(request, action):
    """Carry out one action: `{"client_id": …}` and more in, JSON out."""
    given = json.loads(request.body or b"{}")
    return JsonResponse(ACTIONS[action](**given))


def create_application(*, name, grant="client-credentials", redirect_uris="", confidential=True, lifetime=None):
    """Register an application; its secret is shown here and stored hashed, as a real provider does."""
    from oauth2_provider.generators import generate_client_secret  # noqa: PLC0415 - needs the app registry
    from oauth2_provider.models import Application  # noqa: PLC0415 - as above

    secret = generate_client_secret()
    made = Application.objects.create(
        name=name,
        client_type=Application.CLIENT_CONFIDENTIAL if confidential else Application.CLIENT_PUBLIC,
        authorization_grant_type=grant,
        client_secret=secret,
        redirect_uris=redirect_uris,
        skip_authorization=False,
    )
    if lifetime is not None:
        _lifetimes[made.client_id] = lifetime
    return {"client_id": made.client_id, "client_secret": secret}


def delete_application(*, client_id):
    """Remove an application, and its tokens with it."""
    from oauth2_provider.models import Application  # noqa: PLC0415 - as above

    return {"deleted": Application.objects.filter(client_id=client_id).delete()[0]}


def create_user(*, username, password, name=""):
    """Add a person who can sign in at the provider. `name` is the person's full name."""
    from django.contrib.auth.models import User  # noqa: PLC0415 - as above

    first, _, last = name.partition(" ")
    return {"id": User.objects.create_user(username, password=password, first_name=first, last_name=last).pk}


def revoke(*, client_id):
    """End every access token of an application at once, as a person does on the provider's own pages.

    One that has a refresh token is dated back, not deleted: django-oauth-toolkit takes the refresh token of a deleted
    one for an orphan, and here it shall stay good.
    """
    from django.utils import timezone  # noqa: PLC0415 - as above
    from oauth2_provider.models import AccessToken  # noqa: PLC0415 - as above

    found = AccessToken.objects.filter(application__client_id=client_id)
    dated_back = found.filter(refresh_token__isnull=False).update(expires=timezone.now() - timedelta(seconds=1))
    return {"revoked": dated_back + found.filter(refresh_token__isnull=True).delete()[0]}


def tokens(*, client_id=None):
    """List the access tokens that are in force."""
    from oauth2_provider.models import AccessToken  # noqa: PLC0415 - as above

    found = (
        AccessToken.objects.all() if client_id is None else AccessToken.objects.filter(application__client_id=client_id)
    )
    return {"tokens": list(found.values_list("token", flat=True))}


def refresh_tokens(*, client_id):
    """List an application's refresh tokens that may still be used."""
    from oauth2_provider.models import RefreshToken  # noqa: PLC0415 - as above

    found = RefreshToken.objects.filter(application__client_id=client_id, revoked__isnull=True)
    return {"tokens": list(found.values_list("token", flat=True))}


def forget_refresh_tokens(*, client_id):
    """Drop every refresh token of an application: the next refresh is an `invalid_grant`."""
    from oauth2_provider.models import RefreshToken  # noqa: PLC0415 - as above

    return {"forgotten": RefreshToken.objects.filter(application__client_id=client_id).delete()[0]}


def secrets():
    """List everything secret that was ever issued or sent here: tokens, codes, verifiers, passwords."""
    from oauth2_provider.models import AccessToken, Grant, RefreshToken  # noqa: PLC0415 - as above

    for model, column in ((AccessToken, "token"), (RefreshToken, "token"), (Grant, "code")):
        _sent.update(model.objects.values_list(column, flat=True))
    return {"secrets": sorted(_sent)}


def hold(*, client_id):
    """Keep this client's token calls waiting from now on."""
    with _changed:
        _held.add(client_id)
    return {}


def release(*, client_id):
    """Let this client's token calls go on."""
    with _changed:
        _held.discard(client_id)
        _changed.notify_all()
    return {}


def calls(*, client_id, at_least=0, answered=0):
    """Return how many token calls came in and were answered; wait until there are as many as asked for."""
    with _changed:
        _changed.wait_for(lambda: _calls[client_id] >= at_least and _answered[client_id] >= answered, LONGEST_WAIT)
        return {"calls": _calls[client_id], "answered": _answered[client_id]}


ACTIONS = {
    action.__name__: action
    for action in (
        *(create_application, delete_application, create_user),
        *(tokens, refresh_tokens, forget_refresh_tokens, revoke, secrets),
        *(hold, release, calls),
    )
}
