"""The calendar source: reads calendars of users and publishes what they say (extra ``calendar``).

Which user has which calendar is in a file of the operator, one a line::

    # user              calendar                              time zone
    alice@example.com   /var/lib/calendars/alice.ics          Europe/Berlin
    bob@example.com     https://calendar.example.com/bob.ics

Users can't name a file nor a URL themselves.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent
from zope.interface import implementer

from simplestack.documents.pidf import Presence
from simplestack.interfaces import IPresenceSource
from simplestack.net.fetch import Fetcher
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import parse_uri

__all__ = ["Calendar", "CalendarSource", "read_calendars"]

#: Seconds between two looks at each calendar.
INTERVAL: Final = 900
#: The largest calendar that is read, in octets.
MAX_SIZE: Final = 4 * 1024 * 1024
#: Seconds that a server may take for its whole answer.
TIMEOUT: Final = 30
#: Calendars that one source reads.
MAX_CALENDARS: Final = 10_000
#: How far events are looked for.
DAYS: Final = 14
#: How long what a calendar said counts while it can't be read, in seconds.
LASTING: Final = 86_400

Publish = Callable[[str, Presence | None, float], Deferred[None]]


class Calendar(NamedTuple):
    """The calendar of one user."""

    aor: str
    #: A path, or an ``http:`` or ``https:`` URL.
    place: str
    zone: tzinfo = UTC


def read_calendars(path: str) -> list[Calendar]:
    """Read the operator's list.

    :raises ValueError: naming the line that can't be used, or the file.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise ValueError(f"the list of calendars can't be read: {error}") from None
    calendars: dict[str, Calendar] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            aor = parse_uri(words[0] if words[0].startswith("sip:") else f"sip:{words[0]}").aor
            place = words[1]
            zone = ZoneInfo(words[2]) if len(words) > 2 else UTC
        except (SIPError, IndexError, ValueError, OSError, KeyError):
            raise ValueError(
                f"{path}, line {number}: a line is a user, a file or URL, and perhaps a time zone"
            ) from None
        if "://" not in place and not place.startswith("/"):
            raise ValueError(f"{path}, line {number}: a file is named by its whole path")
        if "://" in place and not place.startswith(("http://", "https://")):
            raise ValueError(f"{path}, line {number}: a URL is one of http: or https:")
        calendars[aor] = Calendar(aor, place, zone)
    if len(calendars) > MAX_CALENDARS:
        raise ValueError(f"{path} lists more than {MAX_CALENDARS} calendars")
    return list(calendars.values())


@implementer(IPresenceSource)
class CalendarSource:
    """Looks at each calendar of a list again and again, one after the other.

    Files are read, and calendars are understood, in a thread, so that a large one keeps nobody
    waiting.  The list itself is read before each round.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        *,
        agent: IAgent | None = None,
        interval: float = INTERVAL,
        patience: float = TIMEOUT,
        in_thread: Callable[..., Deferred[Any]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        read_calendars(path)
        self._reactor = reactor
        self._path = path
        # It follows no redirect: the operator named this place and no other.
        self._fetcher = Fetcher(reactor, size=MAX_SIZE, patience=patience, agent=agent)
        self._interval = interval
        self._clock = clock
        self._in_thread = in_thread or self._by_pool
        self._publish: Publish | None = None
        self._loop = LoopingCall(self.look)
        self._loop.clock = reactor
        self._said: set[str] = set()

    def start(self, publish: Publish) -> None:
        """Look at all calendars now, and then once in each interval."""
        self._publish = publish
        self._loop.start(self._interval).addErrback(self._ended)

    def stop(self) -> None:
        """Look no more."""
        self._publish = None
        if self._loop.running:
            self._loop.stop()

    def _ended(self, failure: Failure) -> None:
        self.log.failure("calendars are not read any more", failure=failure)

    def _by_pool(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *arguments)

    @inlineCallbacks
    def look(self) -> Any:
        """Look at each calendar once; what goes wrong with one is logged and ends with it."""
        try:
            calendars: list[Calendar] = yield self._in_thread(read_calendars, self._path)
        except ValueError as error:
            self.log.error("{error}", error=str(error))
            return
        gone = self._said - {calendar.aor for calendar in calendars}
        for calendar in calendars:
            if self._publish is None:
                return
            try:
                data = yield self._fetch(calendar.place)
                presence = yield self._in_thread(understood, data, calendar, self._now())
                yield self._say(calendar.aor, presence)
            except Exception as error:
                self.log.warn(
                    "the calendar of {aor} ({place}): {error}",
                    aor=calendar.aor,
                    place=_without_secrets(calendar.place),
                    error=str(error) or type(error).__name__,
                )
        for aor in gone:
            self._said.discard(aor)
            yield self._say(aor, None)

    @inlineCallbacks
    def _say(self, aor: str, presence: Presence | None) -> Any:
        publish = self._publish
        if publish is None:
            return
        if presence is not None and not presence.persons:
            presence = None
        yield publish(aor, presence, LASTING)
        if presence is not None:
            self._said.add(aor)

    def _now(self) -> float:
        return self._clock()

    def _fetch(self, place: str) -> Deferred[bytes]:
        if "://" in place:
            return self._fetcher.fetch(place, "text/calendar")
        return self._in_thread(_read_file, place)


def _read_file(place: str) -> bytes:
    with open(place, "rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise ValueError(f"it is larger than {MAX_SIZE} octets")
    return data


def understood(data: bytes, calendar: Calendar, now: float) -> Presence:
    """What a calendar says of the days around now.

    Whole days, so that it stays the same document while the calendar does.
    """
    from simplestack.roles.calendar import periods, presence

    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = midnight - timedelta(days=1), midnight + timedelta(days=DAYS)
    user = calendar.aor.partition(":")[2]
    said = periods(data, start, end, zone=calendar.zone, user=user)
    return presence(calendar.aor, said)


def _without_secrets(place: str) -> str:
    """A place for the log; the URL of a private calendar holds its secret."""
    if "://" not in place:
        return place
    scheme, _, rest = place.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}/…"
