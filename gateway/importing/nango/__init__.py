"""Policies from nango's list of providers, `providers.yaml` of the npm package @nangohq/providers.

entry       a provider's entry, with what it inherits from another
expression  nango's templates, parsed
shape       what a value in a host is for us
fields      what the person is asked for
values      nango's templates as ours
urls        its URLs as ours
login       [auth] of those who speak OAuth 2.0
steps       [auth] of those whose token requests have a shape of their own
calls       what is added to calls, and the call that tries a connection
tokens      what all token requests have in common
unheeded    what an entry says that nothing has heeded
known       what nango does by its own code, for providers of which its list doesn't say it
provider    all of it together
"""

from gateway.importing.nango.provider import from_nango

__all__ = ["from_nango"]
