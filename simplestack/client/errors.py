"""How a request of ours can fail."""

from __future__ import annotations

from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response

__all__ = [
    "AuthenticationError",
    "ClientError",
    "NoAnswerError",
    "RefusedError",
    "TerminatedError",
    "refusal",
]


class ClientError(Exception):
    """What was asked for did not come about; the text says why, in one line."""


class NoAnswerError(ClientError):
    """Nobody answered: no address, no connection, or no response in time."""


class RefusedError(ClientError):
    """The other side answered, and said no.

    ``status`` is that of SIP or HTTP; ``retry_after`` the seconds after which the same may be
    granted, None where nothing was said of it.
    """

    def __init__(
        self, status: int, reason: str, detail: str = "", retry_after: int | None = None
    ) -> None:
        text = f"{status} {reason}" + (f": {detail}" if detail else "")
        if retry_after is not None:
            text += f" (to be tried again after {retry_after} s)"
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after


class AuthenticationError(RefusedError):
    """The other side does not take our user name and password."""

    def __str__(self) -> str:
        return f"the server does not take the user name and password ({self.status} {self.reason})"


class TerminatedError(ClientError):
    """The notifier ended a subscription (RFC 6665 §4.1.3); ``reason`` is its word for why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the subscription was ended: {reason}")
        self.reason = reason


def refusal(response: Response) -> RefusedError:
    """The error that a final response of 300 and above stands for."""
    retry_after = None
    detail = ""
    try:
        if response.retry_after is not None:
            retry_after = response.retry_after.seconds
        detail = "; ".join(warning.text for warning in response.warnings)
    except SIPError:
        # Only a person reads it.
        pass
    kind = AuthenticationError if response.status in (401, 407) else RefusedError
    return kind(response.status, response.reason, detail, retry_after)
