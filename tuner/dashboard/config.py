"""How a dashboard was started: what it reads, and what it lets whom do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from tuner.core.errors import InvalidInput
from tuner.study.cluster import Cluster

#: A token that can be guessed is none.
LEAST_TOKEN = 16


class Right(IntEnum):
    """What a dashboard lets people do; each includes the ones before it."""

    READ = 0
    REVIEW = 1  # say what they think of a winner, on record
    APPLY = 2  # and give it to the live Deployment

    @classmethod
    def named(cls, name: str) -> Right:
        """The right of this name. Raises InvalidInput."""
        try:
            return cls[name.upper()]
        except KeyError:
            raise InvalidInput(f"--allow: {name!r} is no right; allowed: read, review, apply") from None


@dataclass(frozen=True)
class SignIn:
    """How people show who they are: by a token, by a header that a proxy sets, or both.

    A `header` is believed from `proxies` alone. `asked` says whether pages need it too, or changes only.
    """

    token: str | None = None
    header: str | None = None
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    asked: bool = True

    def from_proxy(self, address: str | None) -> bool:
        """Whether a request comes from a proxy that is trusted."""
        try:
            found: IPv4Address | IPv6Address = ip_address(address or "")
            if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:  # of a socket that takes both
                found = found.ipv4_mapped
            return any(found in proxy for proxy in self.proxies)
        except ValueError:  # a Unix socket has no address
            return False


@dataclass(frozen=True)
class Config:
    """A dashboard. `hosts` are the names by which it may be reached.

    None: by any, where every page needs the token. A name that a proxy sets needs `hosts`: a page of another site whose
    name was bent to this address would else be let in by a proxy on the same machine.
    """

    right: Right = Right.READ
    sign_in: SignIn = field(default_factory=lambda: SignIn(asked=False))
    hosts: tuple[str, ...] | None = None
    secure: bool = False  # reached by HTTPS alone, so that cookies never travel in the clear
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InvalidInput(*problems)

    def _problems(self) -> Iterator[str]:
        token, header = self.sign_in.token, self.sign_in.header
        if token is not None and len(token) < LEAST_TOKEN:
            yield f"TUNER_DASHBOARD_TOKEN: {len(token)} characters are too easy to guess; use {LEAST_TOKEN} or more"
        if self.right > Right.READ and token is None and header is None:
            yield (
                f"--allow {self.right.name.lower()}: whoever changes something must sign in; "
                "set TUNER_DASHBOARD_TOKEN or --user-header"
            )
        if self.hosts is None and not self.sign_in.asked:
            yield "--host: others than this machine must sign in; set TUNER_DASHBOARD_TOKEN"
        if header is not None and not self.sign_in.proxies:
            yield "--user-header: name the proxy that sets it with --proxy, e.g. --proxy 10.0.0.7"
        if header is not None and not self.hosts:
            yield "--user-header: name the host that people open with --name, e.g. --name tuner.example.com"
