"""Presence sources at work: what they say becomes publications, each by a turn of its own."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.plugin import getPlugins

from simplestack.app.authentication import Authenticator
from simplestack.app.settings import SettingsError
from simplestack.app.turn import Turns
from simplestack.documents.pidf import MEDIA_TYPE, Presence
from simplestack.interfaces import Identifiers, IPresenceSource, IPresenceSourceFactory
from simplestack.outcome import Outcome
from simplestack.roles.rpid import check
from simplestack.roles.source import source_id
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, Publication, ResourceState

__all__ = ["SourceTurn", "Sources", "make_sources"]


def make_sources(descriptions: Sequence[str], reactor: Any) -> dict[str, IPresenceSource]:
    """The sources that descriptions ``NAME=ARGUMENT`` ask for, by name.

    Raises SettingsError where there is no plug-in of a name, or it can't use the argument.
    """
    found = {factory.name: factory for factory in getPlugins(IPresenceSourceFactory)}
    sources: dict[str, IPresenceSource] = {}
    for description in descriptions:
        name, _, argument = description.partition("=")
        if name not in found:
            raise SettingsError(
                f"there is no presence source {name!r}; there are {', '.join(sorted(found))}"
            )
        if name in sources:
            raise SettingsError(f"the presence source {name!r} is named twice")
        try:
            sources[name] = found[name].make(reactor, argument)
        except ValueError as error:
            raise SettingsError(f"presence source {name}: {error}") from None
    return sources


class SourceTurn:
    """What a source says of one AOR on its way into the state; provides ``Turn``."""

    def __init__(
        self,
        name: str,
        aor: str,
        presence: Presence | None,
        seconds: float,
        authenticator: Authenticator,
        identifiers: Identifiers,
    ) -> None:
        self.name = name
        self.aor = aor
        self.done: Deferred[None] = Deferred()
        self._presence = presence
        self._seconds = seconds
        self._authenticator = authenticator
        self._identifiers = identifiers
        self._exists: bool | None = None

    def __repr__(self) -> str:
        return f"<SourceTurn {self.name} {self.aor}>"

    def trust(self, now: float) -> Deferred[Any] | None:
        """A source is trusted; that the user exists is seen to."""
        if self._exists is None:
            exists = self._authenticator.exists(self.aor)
            if isinstance(exists, Deferred):
                return exists.addCallback(self._learn)
            self._exists = exists
        if not self._exists:
            raise SIPError(404, text=f"there is no user {self.aor}")
        return None

    def _learn(self, exists: bool) -> None:
        self._exists = exists

    def decide(self, state: ResourceState, now: float) -> Outcome[None]:
        """The publication of the source, made, refreshed or removed."""
        changes = ChangeSet(self.aor)
        id_ = source_id(self.name)
        before = state.publications.get(id_)
        if self._presence is None:
            if before is not None:
                changes.remove(before, "removed")
            return Outcome(None, changes)
        body = self._presence._replace(entity=self.aor).to_bytes()
        # The same again refreshes: nothing that a watcher sees is newer.
        said = before.published_at if before is not None and before.body == body else now
        tag = self._identifiers.entity_tag()
        until = now + self._seconds
        changes.put(Publication(self.aor, id_, "presence", tag, "", MEDIA_TYPE, body, said, until))
        return Outcome(None, changes)

    def answer(self, response: object) -> None:
        """It is committed."""
        self.done.callback(None)

    def refuse(self, error: SIPError) -> None:
        """It was not."""
        self.done.errback(error)


class Sources:
    """The sources of a service, by name: started and stopped with it."""

    log = Logger()

    def __init__(
        self,
        sources: dict[str, IPresenceSource],
        turns: Turns,
        authenticator: Authenticator,
        identifiers: Identifiers,
    ) -> None:
        self.sources = sources
        self._turns = turns
        self._authenticator = authenticator
        self._identifiers = identifiers
        self._running = False

    def start(self) -> None:
        """Let all begin; one that can't is logged, and the others serve on."""
        self._running = True
        for name, source in self.sources.items():
            try:
                source.start(self._publisher(name))
            except Exception:
                self.log.failure("the presence source {name} can't start", name=name)

    def stop(self) -> Deferred[Any]:
        """Let all end."""
        self._running = False
        return gatherResults([maybeDeferred(source.stop) for source in self.sources.values()])

    def _publisher(self, name: str) -> Callable[[str, Presence | None, float], Deferred[None]]:
        def publish(aor: str, presence: Presence | None, seconds: float) -> Deferred[None]:
            if not self._running:
                return fail(SIPError(503, text="the service is stopping"))
            if presence is not None:
                try:
                    check(presence)
                except SIPError as error:
                    return fail(error)
            turn = SourceTurn(name, aor, presence, seconds, self._authenticator, self._identifiers)
            self._turns.run(turn)
            return turn.done

        return publish
