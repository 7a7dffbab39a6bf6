"""How many transactions are kept."""

from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """How many transactions strangers may make us keep."""

    #: Server transactions of all states.  At 3,000 requests a second over UDP 96,000 wait for
    #: timer J, each with the bytes of its response.  Beyond it those that were answered first are
    #: forgotten before their time: at 10,000 requests a second after 20 seconds.
    server_transactions: int = 200_000
    #: Server transactions without a final response, each with its request; beyond it the answer
    #: is 503.
    unanswered: int = 20_000
    #: Retry-After of the 503, in seconds.
    retry_after: int = 10
