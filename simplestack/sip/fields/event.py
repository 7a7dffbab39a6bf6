"""Event and Subscription-State (RFC 6665 §8.2)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from simplestack.sip.grammar import (
    TOKEN,
    Params,
    bad,
    find_param,
    format_params,
    integer,
    parse_params,
)
from simplestack.sip.memory import remember

__all__ = ["Event", "SubscriptionState", "parse_event", "parse_subscription_state"]

MAX_SECONDS: Final = 2**32 - 1

_word: Final = re.compile(rf"({TOKEN}++)[ \t]*+(;.*)?", re.DOTALL).fullmatch


class Event(NamedTuple):
    """An event package with its templates ("presence.winfo"), and parameters.

    RFC 6665 §8.2.1: the event type and the `id` are "compared byte by byte"; "No other
    parameters are considered when performing a comparison."
    """

    package: str
    params: Params = ()

    @property
    def id(self) -> str | None:
        """The `id` that tells subscriptions of one dialog apart, as written; None without one."""
        for name, value in self.params:
            if name == "id":
                return value or ""
        return None

    def param(self, name: str) -> str | None:
        """What a parameter says; "" if it has no value, None if it is not there."""
        return find_param(self.params, name)

    def __str__(self) -> str:
        return self.package + format_params(self.params)


class SubscriptionState(NamedTuple):
    """The state of a subscription: active, pending, terminated or an extension, lower case."""

    state: str
    params: Params = ()

    def param(self, name: str) -> str | None:
        """What a parameter says; "" if it has no value, None if it is not there."""
        return find_param(self.params, name)

    @property
    def reason(self) -> str | None:
        """Why the subscription ended, lower case."""
        reason = self.param("reason")
        return reason and reason.lower()

    @property
    def expires(self) -> int | None:
        """Seconds that the subscription has left, if they are said."""
        return integer(self.param("expires") or "", MAX_SECONDS)

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before subscribing again, if they are said."""
        return integer(self.param("retry-after") or "", MAX_SECONDS)

    def __str__(self) -> str:
        return self.state + format_params(self.params)


@remember(1024)
def parse_event(text: str) -> Event:
    """Read an Event; parameters nobody knows are kept. Raises SIPError 400."""
    match = _word(text)
    if not match:
        raise bad(f"bad Event: {text[:60]}")
    return Event(match[1], parse_params((match[2] or "").rstrip(" \t")))


@remember(1024)
def parse_subscription_state(text: str) -> SubscriptionState:
    """Read a Subscription-State. Raises SIPError 400."""
    match = _word(text)
    if not match:
        raise bad(f"bad Subscription-State: {text[:60]}")
    return SubscriptionState(match[1].lower(), parse_params((match[2] or "").rstrip(" \t")))
