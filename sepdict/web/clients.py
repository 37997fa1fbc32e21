"""The one who asks: the session of a page, and the machine that it is shown on."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

SITE_BITS = 64  # of an IPv6 address: one machine can have all addresses that begin in the same way


@dataclass(frozen=True)
class Asker:
    """The one who asks for something.

    Attributes
    ----------
    session : str
        Empty where there is none.
    client : str
        The address of another machine; empty for this one, whose user may take all that there is.
    """

    session: str = ""
    client: str = ""


NOBODY = Asker()


def client_of(host: str) -> str:
    """Return by what a machine is known: its address, or nothing for this machine.

    Examples
    --------
    >>> client_of("127.0.0.1"), client_of("192.0.2.7"), client_of("2001:db8::1:2")
    ('', '192.0.2.7', '2001:db8::/64')
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return "" if address.is_loopback else str(ipaddress.ip_network((address, SITE_BITS), strict=False))
        address = address.ipv4_mapped
    return "" if address.is_loopback else str(address)


def asker_of(request: Request, session: Annotated[str, Query(max_length=64)] = "") -> Asker:
    """Return who sends a request."""
    return Asker(session, client_of(request.client.host) if request.client else "")


TheAsker = Annotated[Asker, Depends(asker_of)]
