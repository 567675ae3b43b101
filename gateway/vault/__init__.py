"""The token life cycle: connect, use, renew, disconnect. The only opener of sealed credentials.

vault        Vault: what everything above uses
live         Live: a connection ready for a request, compiled once for each version of its token
credentials  what a connection keeps, and how it is sealed
lives        the Lives of this process, and when they are forgotten
renewal      one refresh at a time for a connection, over all tasks, processes and machines
lease        a lease that is held, and one that is watched    commit      writes what a refresh brought, and insists
provider     the calls of token and revocation endpoints      sources  where the client's credentials are
connecting   from fields to a living connection               probe    the test call
trying       a test call with a policy that isn't saved
parting      disconnecting, and revoking at the provider      explaining  what would be done with a request
naming       the label that a person chose     label       what the policy calls the account
timing       when a connection is to be renewed               sweep       which does it, used or not
upkeep       what is done in the background                   webhook     who is told, signed
chronicle    what is told of a change
"""

from gateway.vault.connecting import Connected
from gateway.vault.live import Live
from gateway.vault.probe import TestResult
from gateway.vault.vault import Vault
from gateway.vault.webhook import Webhook

__all__ = ["Connected", "Live", "TestResult", "Vault", "Webhook"]
