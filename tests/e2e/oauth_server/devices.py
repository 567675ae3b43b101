"""Device codes: what oauthlib 4 wants of them and django-oauth-toolkit 3.4 lacks yet. The endpoints are its own."""

from dataclasses import dataclass

from oauth2_provider.models import DeviceCodeResponse, get_device_grant_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.views import device


@dataclass
class ScopedCodeResponse(DeviceCodeResponse):
    """A code with the scopes that are asked for."""

    scope: str = ""


device.DeviceCodeResponse = ScopedCodeResponse


class Validator(OAuth2Validator):
    """The toolkit's, which knows how a code stands."""

    def validate_device_code(self, client_id, code, request, *_, **__):
        """Return how it stands; the token is for who allowed it, and for what was asked."""
        found = get_device_grant_model().objects.filter(client_id=client_id, device_code=code).first()
        if found is None or found.status != found.AUTHORIZED:
            return None
        request.user, request.scopes = found.user, found.scope.split()
        return "authorized"
