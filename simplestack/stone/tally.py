"""What a process counts in one step of a run."""

from typing import Any, Final

from simplestack.stone.histogram import Counts

__all__ = [
    "KINDS",
    "METHODS",
    "NOBODY",
    "PUBLISH",
    "REFRESH",
    "REGISTER",
    "RESUBSCRIBE",
    "SUBSCRIBE",
    "UNPUBLISH",
    "UNREGISTER",
    "UNSUBSCRIBE",
    "Tally",
    "role_of",
]

REGISTER: Final = 0
UNREGISTER: Final = 1
PUBLISH: Final = 2
REFRESH: Final = 3
UNPUBLISH: Final = 4
SUBSCRIBE: Final = 5
RESUBSCRIBE: Final = 6
UNSUBSCRIBE: Final = 7

#: The kinds of operations, by their numbers.
KINDS: Final = (
    "register",
    "unregister",
    "publish",
    "refresh",
    "unpublish",
    "subscribe",
    "resubscribe",
    "unsubscribe",
)
METHODS: Final = (
    "REGISTER",
    "REGISTER",
    "PUBLISH",
    "PUBLISH",
    "PUBLISH",
    "SUBSCRIBE",
    "SUBSCRIBE",
    "SUBSCRIBE",
)


#: The error of an operation for which all users waited too long for answers.
NOBODY: Final = "nobody was free to do it"
#: So many different errors are told from each other.
_KINDS_OF_ERRORS: Final = 32


def role_of(kind: int) -> str:
    """Who does operations of this kind."""
    return "loader" if kind <= UNPUBLISH else "handler"


class Tally:
    """Counts, and times.

    Operations and NOTIFYs count where their scheduled moment lies in what is measured, messages
    where they are sent or received in it.
    """

    __slots__ = (
        "answers",
        "challenged",
        "errors",
        "first",
        "first_late",
        "gaps",
        "lag",
        "late",
        "messages",
        "missing",
        "notified",
        "notify",
        "octets_in",
        "octets_out",
        "out_of_order",
        "repeated",
        "retransmitted",
        "started",
        "strays",
        "succeeded",
        "superseded",
        "withheld",
    )

    def __init__(self) -> None:
        #: Operations by kind: begun, answered with 2xx within the limit.
        self.started = [0] * len(KINDS)
        self.succeeded = [0] * len(KINDS)
        #: What went wrong → how often.
        self.errors: dict[str, int] = {}
        #: Requests and responses by name → how many: ``PUBLISH``, ``PUBLISH 2xx``, ``NOTIFY``.
        self.messages: dict[str, int] = {}
        self.octets_in = 0
        self.octets_out = 0
        #: From the scheduled moment to the 2xx, by kind.
        self.answers = [Counts() for _ in KINDS]
        #: From the scheduled PUBLISH to its NOTIFY.
        self.notify = Counts()
        #: From the scheduled SUBSCRIBE to the first NOTIFY of its dialog.
        self.first = Counts()
        #: Those of them that came after the limit.
        self.first_late = 0
        #: First NOTIFYs that say "pending": nobody has allowed the watcher (RFC 3856 §6.6).
        self.withheld = 0
        #: How late requests left for want of time of the generator.
        self.lag = Counts()
        #: NOTIFYs that told a PUBLISH in time; those of a newer PUBLISH that told it, too; those
        #: that came after the limit; those that never came.
        self.notified = 0
        self.superseded = 0
        self.late = 0
        self.missing = 0
        #: Requests sent again for want of an answer; NOTIFYs that came again.
        self.retransmitted = 0
        self.repeated = 0
        self.out_of_order = 0
        #: Numbers of NOTIFYs that were passed over: those that were lost, or overtaken.
        self.gaps = 0
        self.strays = 0
        self.challenged = 0

    def error(self, what: str, more: str = "") -> None:
        """Count something that went wrong; ``more`` tells what may differ each time.

        Of many that differ, the later ones count without it.
        """
        said = f"{what} {more}" if more else what
        if said not in self.errors and len(self.errors) >= _KINDS_OF_ERRORS:
            said = what
        self.errors[said] = self.errors.get(said, 0) + 1

    def count(self, what: str) -> None:
        """Count a message."""
        self.messages[what] = self.messages.get(what, 0) + 1

    def values(self) -> dict[str, Any]:
        """What JSON can carry."""
        return {
            "started": dict(zip(KINDS, self.started, strict=True)),
            "succeeded": dict(zip(KINDS, self.succeeded, strict=True)),
            "errors": self.errors,
            "messages": self.messages,
            "octets_in": self.octets_in,
            "octets_out": self.octets_out,
            "answers": {
                kind: counts.encoded()
                for kind, counts in zip(KINDS, self.answers, strict=True)
                if counts.total
            },
            "notify": self.notify.encoded(),
            "first": self.first.encoded(),
            "first_late": self.first_late,
            "lag": self.lag.encoded(),
            "notified": self.notified,
            "superseded": self.superseded,
            "late": self.late,
            "missing": self.missing,
            "retransmitted": self.retransmitted,
            "repeated": self.repeated,
            "out_of_order": self.out_of_order,
            "gaps": self.gaps,
            "strays": self.strays,
            "challenged": self.challenged,
            "withheld": self.withheld,
        }
