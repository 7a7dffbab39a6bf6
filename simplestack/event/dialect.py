"""How Linphone wants the NOTIFYs of lists: it understands its own server alone."""

import re
from typing import Final

from simplestack.state import Subscription

__all__ = ["linphone_event", "linphone_parts", "of_linphone"]

_CONTENT_ID: Final = re.compile(rb"\r\nContent-ID: <([^>\r\n]*)>\r\n")


def of_linphone(subscription: Subscription) -> bool:
    """Whether the subscriber is Linphone, by its User-Agent: ``Linphonec/5.1``, ``LinphoneAndroid/…``."""
    return subscription.user_agent[:8].lower() == "linphone"


def linphone_event(package: str) -> str:
    """The event package as it compares it: byte by byte with ``Presence``.

    It sends ``presence`` itself (RFC 3856 §6.1), and shows nothing of a NOTIFY that has the same.
    """
    return "Presence" if package == "presence" else package


def linphone_parts(body: bytes) -> bytes:
    """A multipart body whose Content-IDs it finds: it looks for the ``cid`` as it stands in the list.

    By RFC 2045 §7 a Content-ID is in angle brackets, which the ``cid`` of RFC 4662 §5.5 is without.
    """
    return _CONTENT_ID.sub(rb"\r\nContent-Id: \1\r\n", body)
