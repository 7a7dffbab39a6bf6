"""What a watcher may ask of the notifier, and how much of it."""

from typing import Final, NamedTuple

__all__ = ["DEFAULT_LIMITS", "Limits"]


class Limits(NamedTuple):
    """Bounds of what remote parties can make the notifier keep; times are seconds."""

    #: A shorter subscription gets 423 (RFC 6665 §4.2.1.1); never more than an hour.
    min_expires: int = 60
    #: A longer subscription is shortened.
    max_expires: int = 86400
    #: Subscriptions and waiting watchers of one AOR; beyond it 503 with Retry-After.
    per_resource: int = 5000
    #: Of them, those of one watcher; beyond it 403.
    per_watcher: int = 30
    #: Of them, those of all anonymous watchers together; beyond it 403.
    anonymous: int = 100
    #: Subscriptions that share one dialog (RFC 6665 §4.5.2); beyond it 403.
    per_dialog: int = 4
    #: Waiting watchers of one AOR; beyond it the oldest is forgotten.
    waiting: int = 100
    #: How long a waiting watcher is remembered: "a user should be able to log in days later
    #: and see that someone tried to subscribe to them" (RFC 3857 §4.7.1).
    waiting_time: int = 7 * 86400
    #: Octets of a SUBSCRIBE body; beyond it 413.
    body: int = 16384
    #: Characters of the header field values that a subscription keeps; beyond it 513.
    head: int = 4096
    #: What Retry-After says.
    retry_after: int = 60
    #: CSeq numbers that one commit reserves for the NOTIFYs of a dialog.
    cseq_block: int = 100
    #: The shortest time between two notifications of a view, after an immediate first; 0 for
    #: none.  "notifications for a single presentity" (RFC 3856 §6.10), "for a single user"
    #: (RFC 3680 §4.10) SHOULD come no faster than one in five seconds.
    notify_interval: float = 5
    #: The shortest time between two notifications of which the second says nothing new, for
    #: those who ask for a lowest rate (RFC 6446 §6.3).
    repeat_interval: float = 5


DEFAULT_LIMITS: Final = Limits()
