"""The way out: which addresses may be reached, and the one place that reaches them.

`address` classifies an IP address; `guard` decides; `resolve` turns a name into addresses that are all allowed;
`client` speaks HTTP to providers; `Egress` puts them together. A name is resolved once and what is dialled is the
address that was checked, so a name that changes its answer in between gains nothing.
"""

from gateway.egress.address import AddressClass, classify, parse_address
from gateway.egress.egress import Egress
from gateway.egress.resolve import AddrInfo, Lookup

__all__ = ["AddrInfo", "AddressClass", "Egress", "Lookup", "classify", "parse_address"]
