"""The users of a process, their subscriptions, and what they have under way."""

from typing import Final

from simplestack.stone.credentials import Credentials
from simplestack.stone.templates import Body, PublishTemplate, RegisterTemplate, SubscribeTemplate
from simplestack.stone.wire import Link

__all__ = ["Dialog", "Presentity", "Request", "Watcher"]

#: Contacts of before that a user remembers.
_FORMER: Final = 16


class Presentity:
    """A user who registers and publishes."""

    __slots__ = (
        "aor",
        "body",
        "credentials",
        "domain",
        "entity_tag",
        "expires",
        "former",
        "index",
        "link",
        "publish",
        "register",
        "serial",
        "slot",
        "uncounted",
    )

    def __init__(
        self,
        index: int,
        credentials: Credentials,
        domain: bytes,
        expires: int,
        body: Body,
        slot: int,
        link: Link,
    ) -> None:
        self.index = index
        self.credentials = credentials
        self.domain = domain
        self.aor = b"sip:" + credentials.username.encode() + b"@" + domain
        self.expires = expires
        self.body = body
        #: Which of the process's links it uses.
        self.slot = slot
        self.entity_tag = b""
        #: Of the last change that was accepted, and of the last one before what is measured.
        self.serial = 0
        self.uncounted = 0
        #: Where it was registered before: by connections that were cut.
        self.former: list[bytes] = []
        self.join(link)

    def join(self, link: Link) -> None:
        """Use this link from now on."""
        self.link = link
        self.register = RegisterTemplate(
            self.credentials, self.aor, self.domain, link, self.expires, self.former
        )
        self.former = [
            *self.former[1 - _FORMER :],
            link.contact(self.credentials.username.encode()),
        ]
        self.publish = PublishTemplate(self.credentials, self.aor, link, self.expires, self.body)


class Watcher:
    """A user who subscribes."""

    __slots__ = ("aor", "credentials", "expires", "link", "slot", "subscribe")

    def __init__(
        self, credentials: Credentials, domain: bytes, expires: int, slot: int, link: Link
    ) -> None:
        self.credentials = credentials
        self.aor = b"sip:" + credentials.username.encode() + b"@" + domain
        self.expires = expires
        self.slot = slot
        self.join(link)

    def join(self, link: Link) -> None:
        """Use this link from now on."""
        self.link = link
        self.subscribe = SubscribeTemplate(self.credentials, self.aor, link, self.expires)


class Dialog:
    """A subscription of a watcher, to a presentity or to a list of them."""

    __slots__ = (
        "body",
        "call",
        "counted",
        "cseq",
        "due",
        "extra",
        "initial",
        "last",
        "lines",
        "moment",
        "number",
        "presentity",
        "route",
        "state",
        "table",
        "target",
        "to",
        "uri",
        "watcher",
    )

    def __init__(
        self,
        watcher: Watcher,
        presentity: int,
        uri: bytes,
        extra: bytes,
        initial: bytes = b"",
        body: bytes = b"",
    ) -> None:
        self.watcher = watcher
        #: Index of the presentity; -1 of a list.
        self.presentity = presentity
        #: Whom the SUBSCRIBE asks for.
        self.uri = uri
        #: Header field lines of every SUBSCRIBE, and of the first alone.
        self.extra = extra
        self.initial = initial
        self.body = body
        #: Presentity → serial and moment of the last change that was told, where it is a list.
        self.table: dict[int, tuple[int, int]] = {}
        self.reset(b"")

    def reset(self, call: bytes) -> None:
        """Begin anew, with what names the new dialog."""
        self.call = call
        #: 0 nothing heard yet, 1 established, 2 over.
        self.state = 0
        #: Serial and moment of the last change that was told; -1 before the first NOTIFY, -2 where
        #: that had none.
        self.last = -1
        self.moment = 0
        #: CSeq of the last NOTIFY, and of our last SUBSCRIBE.
        self.cseq = -1
        self.number = 0
        #: What every 200 repeats.
        self.lines = b""
        self.to = b"<" + self.uri + b">"
        self.target = self.uri
        self.route = b""
        self.due = 0.0
        self.counted = False
        self.table = {}


class Request:
    """One operation under way."""

    __slots__ = (
        "branch",
        "challenges",
        "counted",
        "data",
        "dialog",
        "due",
        "kind",
        "lapsed",
        "link",
        "moment",
        "presentity",
        "serial",
    )

    def __init__(self, kind: int, due: float, moment: int, counted: bool) -> None:
        self.kind = kind
        #: The scheduled moment, on our clock and in microseconds of the controller's.
        self.due = due
        self.moment = moment
        self.counted = counted
        self.branch = b""
        self.data = b""
        self.serial = 0
        self.challenges = 0
        #: Whether it has failed for being late, and may be answered still.
        self.lapsed = False
        self.presentity: Presentity | None = None
        self.dialog: Dialog | None = None
        self.link: Link | None = None
