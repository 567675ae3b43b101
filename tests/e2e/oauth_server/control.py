"""What a test may ask of the provider besides OAuth: applications, revocation behind a client's back, held calls.

The token endpoint itself is django-oauth-toolkit's, untouched; a middleware in front of it counts the calls of each
client id and can hold them until they are let go.
"""

import base64
import json
import threading
from collections import Counter
from urllib.parse import unquote

from django.http import JsonResponse

TOKEN_PATH = "/o/token/"
LONGEST_WAIT = 20.0

_changed = threading.Condition()
_calls: Counter[str] = Counter()
_answered: Counter[str] = Counter()
_held: set[str] = set()
_lifetimes: dict[str, int] = {}


def lifetime(request):
    """Return how many seconds the token that is being issued lives: the client's own figure, else an hour."""
    return _lifetimes.get(request.client_id, 3600)


def _client_id(request):
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return unquote(base64.b64decode(value).decode().partition(":")[0])
    return request.POST.get("client_id", "")


class TokenCalls:
    """Counts the token endpoint's calls and holds those of clients that a test holds."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
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


def create_user(*, username, password):
    """Add a person who can sign in at the provider."""
    from django.contrib.auth.models import User  # noqa: PLC0415 - as above

    return {"id": User.objects.create_user(username, password=password).pk}


def revoke(*, client_id):
    """Revoke every access token of an application, as a person does on the provider's own pages."""
    from oauth2_provider.models import AccessToken  # noqa: PLC0415 - as above

    return {"revoked": AccessToken.objects.filter(application__client_id=client_id).delete()[0]}


def tokens(*, client_id=None):
    """List the access tokens that are in force."""
    from oauth2_provider.models import AccessToken  # noqa: PLC0415 - as above

    found = (
        AccessToken.objects.all() if client_id is None else AccessToken.objects.filter(application__client_id=client_id)
    )
    return {"tokens": list(found.values_list("token", flat=True))}


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
    for action in (create_application, delete_application, create_user, revoke, tokens, hold, release, calls)
}
