"""Every interface of the house: where a deployment differs, it provides one of these.

Providers of the interfaces marked *plug-in* are found by ``twisted.plugin`` in the package
``twisted.plugins``; the shipped ones come by the same door.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from zope.interface import Attribute, Interface

from simplestack.outcome import Incoming, Outcome
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, Document, ResourceState


class Identifiers(Protocol):
    """Where identifiers come from that must be unique and can't be guessed."""

    def tag(self) -> str:
        """A From or To tag (RFC 3261 §19.3)."""

    def branch(self) -> str:
        """A Via branch with the magic cookie (RFC 3261 §8.1.1.7)."""

    def call_id(self) -> str:
        """A Call-ID (RFC 3261 §8.1.1.4)."""

    def entity_tag(self) -> str:
        """An entity-tag of PUBLISH (RFC 3903 §6) or XCAP (RFC 4825 §7.11)."""

    def record_id(self) -> str:
        """The id of a new record."""


class Body(NamedTuple):
    """A NOTIFY body that many subscriptions share; only a version number may differ.

    Without ``tail`` the body is ``data``; with it, it is data + version + tail.
    """

    content_type: str
    data: bytes
    tail: bytes | None = None

    def render(self, version: int) -> bytes:
        """The octets of the body for a subscription whose next document is ``version``."""
        if self.tail is None:
            return self.data
        return b"%b%d%b" % (self.data, version, self.tail)


class Decision(NamedTuple):
    """What authorization says of a watcher."""

    #: block, confirm, polite-block or allow (RFC 5025 §3.2.1).
    handling: str
    #: What the rules let through: equal keys share a view.
    permissions: Hashable


class IEventPackage(Interface):
    """An event package (RFC 6665 §5) as the notifier needs it.  *Plug-in*."""

    name = Attribute("str: the package name, such as ``presence``.")
    content_types = Attribute("tuple[str, ...]: body types that it can make, the default first.")
    default_expires = Attribute("int: seconds, where SUBSCRIBE says nothing.")
    partial = Attribute("bool: documents carry a version and later ones may be partial.")

    def recognizes(state: ResourceState) -> bool:
        """Whether the AOR exists for this package; the notifier answers 404 where not."""

    def authorize(state: ResourceState, watcher: str, now: float) -> Decision:
        """What this watcher ("" if anonymous) may see of the AOR."""

    def affected(changes: ChangeSet) -> bool:
        """Whether the changes may alter a body of this package."""

    def reauthorizes(changes: ChangeSet) -> bool:
        """Whether the changes may alter what ``authorize`` says."""

    def full(state: ResourceState, permissions: Hashable, content_type: str, now: float) -> Body:
        """The whole state as these permissions show it."""

    def changed(
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """What the changes (already applied) alter; None where they alter nothing.

        Of a package that is not partial it is the whole state again.
        """

    def boundary(state: ResourceState, now: float) -> float | None:
        """The next time after ``now`` at which state or rules change by the clock alone.

        Of a partial package only rules do, unless it has a method ``passed``, which takes what ``full``
        does and gives what there is to tell then, if anything.
        """


class IRole(Interface):
    """A role of the service, on its own line of the operator's ``.tac``.

    A role may have an attribute ``publish_types``: the types of PUBLISH bodies that it takes.
    Without it, OPTIONS names none.
    """

    name = Attribute("str: the name that ``--roles`` knows it by.")
    methods = Attribute("frozenset[str]: the SIP methods that it decides.")
    packages = Attribute("tuple[IEventPackage, ...]: the event packages that it notifies.")
    usages = Attribute("tuple[IApplicationUsage, ...]: the XCAP application usages it serves.")

    def decide(
        incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Decide a request; pure.  Raises SIPError, which becomes the response."""

    def expire(state: ResourceState, now: float) -> ChangeSet:
        """The changes that the clock makes to records of this role."""


class ICompositionPolicy(Interface):
    """Composes the presence document of an AOR from its sources (RFC 4479 §4).  *Plug-in*."""

    name = Attribute("str: the name by which settings and users choose it.")

    def compose(sources: Sequence[Any], entity: str, now: float) -> Any:
        """One ``documents.pidf.Presence`` from ``roles.source.Source`` values.

        Pure.  The sources say what holds at ``now``: what their elements say of time is done.
        """

    def boundary(sources: Sequence[Any], now: float) -> float | None:
        """The next time after ``now`` at which the same sources would be composed otherwise."""

    def configured(parameters: Any) -> Any:
        """This policy as a user wants it: with the ``<composition>`` element of his preferences.

        Raises DocumentError where the element can't be used.  A policy without choices is itself.
        """


class IPresenceSource(Interface):
    """Says what the state of users is, beside what their devices publish."""

    def start(publish: Any) -> None:
        """Begin to say it.

        ``publish(aor, presence, seconds)`` takes the place of what was said of the AOR before:
        a ``documents.pidf.Presence`` that counts for so many seconds, or None to take it back.
        It gives a Deferred that fires when that is committed and fails with SIPError 404 where
        there is no such user.
        """

    def stop() -> Any:
        """Say no more; what was said counts until its time is over.  A Deferred, or None."""


class IPresenceSourceFactory(Interface):
    """Makes the presence sources that the settings name.  *Plug-in*."""

    name = Attribute("str: the name by which settings choose it, and policies know what it says.")

    def make(reactor: Any, argument: str) -> IPresenceSource:
        """A source; ``argument`` is what the settings say of it.

        Raises ValueError, whose text says what to do, where it can't be made of that.
        """


class IAuthorizationPolicy(Interface):
    """Decides what a watcher may see.  The shipped one asks pres-rules (RFC 5025).  *Plug-in*."""

    name = Attribute("str: the name by which settings choose it.")

    def configured(default_handling: str) -> Any:
        """This policy with what the operator sets for watchers of whom nothing else says anything."""

    def decide(state: ResourceState, watcher: str, package: str, now: float) -> Decision:
        """What this watcher may see of the AOR; ``watcher`` is "" where nobody knows who he is.

        The permissions are a ``roles.rules.Permissions``.
        """

    def reauthorizes(changes: ChangeSet) -> bool:
        """Whether the changes may alter what ``decide`` says."""

    def boundary(state: ResourceState, now: float) -> float | None:
        """The next time after ``now`` at which ``decide`` may say otherwise by the clock alone."""


class IApplicationUsage(Interface):
    """An XCAP application usage (RFC 4825 §5).  *Plug-in*."""

    auid = Attribute("str: the application unique ID.")
    default_namespace = Attribute("str: for unprefixed names in node selectors.")
    content_type = Attribute("str: MIME type of its documents.")
    namespaces = Attribute("tuple[str, ...]: what xcap-caps lists.")
    unique = Attribute("bool: whether ``claims`` says anything.")
    gathers = Attribute("str: name of the global document that is made of all users'; or empty.")

    def authorize(owner: str, identity: str, method: str) -> bool:
        """Whether the identity may do this to a document of the owner ("" is the global tree)."""

    def check(document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """Raise DocumentError or ``xcap.errors.ConflictError`` where constraints are violated.

        ``root`` is the parsed document, ``documents`` are those of the owner before the change.
        """

    def claims(root: Any) -> Mapping[str, str]:
        """Values that no other document of this usage on the server may have.

        Each with the percent-encoded node selector of where it stands.
        """

    def computed(
        owner: str, path: str, documents: Mapping[str, Document], root: str
    ) -> bytes | None:
        """The content of a document that the server computes, None of any other.

        ``root`` is the XCAP root URI.
        """

    def gathered(documents: tuple[Document, ...]) -> bytes:
        """The content of the global document ``gathers``, from those of all users."""


class Credential(NamedTuple):
    """The secrets of a user: one HA1 (RFC 7616 §3.4.2) per algorithm, hexadecimal."""

    username: str
    domain: str
    sha512_256: str
    sha256: str
    md5: str


class ICredentialSource(Interface):
    """Where users and their secrets come from.  *Plug-in*.

    One that knows all users may have ``users(domain)`` too, a Deferred of their AORs, for the lists
    of the operator that name a whole domain.
    """

    name = Attribute("str: the name by which settings choose it.")

    def lookup(username: str, domain: str) -> Any:
        """A Deferred of a Credential, or of None where there is no such user."""

    def version() -> Any:
        """A Deferred of an int that rises whenever an earlier answer may be wrong."""

    def removed(since: int) -> Any:
        """A Deferred of ``list[str]``: AORs of users who were removed after that version."""


class IStore(Interface):
    """Where records outlive the process."""

    def start() -> Any:
        """Open, migrate; a Deferred that fails with StoreError saying what to do."""

    def stop() -> Any:
        """Commit what is queued and close; a Deferred."""

    def load(aor: str) -> Any:
        """A Deferred of ``list[Record]``: everything of one AOR."""

    def commit(changes: ChangeSet, settled: Callable[[Exception | None], object]) -> None:
        """Make changes durable; they must not be altered afterwards.

        ``settled`` is called once, in the reactor's thread and after ``commit`` has returned: with
        None when the changes are durable, in the order of the calls, those without changes too, or
        with the error that they fail with, which may come before what was given earlier.
        """

    def deadlines() -> Any:
        """A Deferred of ``list[tuple[str, float]]``: each AOR with its earliest expiry."""

    def subscribed() -> Any:
        """A Deferred of ``list[str]``: the AORs that have subscriptions with a dialog."""

    def documents(auid: str) -> Any:
        """A Deferred of ``list[Document]``: all documents of an XCAP application usage."""

    def counts() -> Any:
        """A Deferred of ``dict[str, int]``: how many records of each kind there are."""

    def queue_age() -> float:
        """Seconds since the oldest change that is not committed yet was given."""


__all__ = [
    "Body",
    "Credential",
    "Decision",
    "IApplicationUsage",
    "IAuthorizationPolicy",
    "ICompositionPolicy",
    "ICredentialSource",
    "IEventPackage",
    "IPresenceSource",
    "IPresenceSourceFactory",
    "IRole",
    "IStore",
    "Identifiers",
]
