"""What the operator does to registrations of the running server, for ``simplestack binding``."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from simplestack.app.core import Core
from simplestack.outcome import Outcome
from simplestack.roles.registrar import Registrar
from simplestack.sip.errors import SIPError
from simplestack.state import Binding, ChangeSet, ResourceState

__all__ = ["Bindings"]

#: How many arguments come before the contacts, by what is to be done.
_TAKES = {"list": 2, "end": 4, "shorten": 3, "create": 3}


class Bindings:
    """Answers by turns of their own: what they change is committed, and told to who watches."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def answer(self, arguments: Sequence[str]) -> Deferred[dict[str, Any]]:
        """Do what the arguments say; the contacts that it was done to.

        They are ``list`` and an AOR; or ``end``, the AOR, an event of RFC 3680 §5.2.2 and
        retry-after or ""; or ``shorten``, the AOR and seconds; or ``create``, the AOR and seconds.
        Contacts follow; where none does, all are meant.

        Fails with SIPError where there is no such user or contact, or the arguments are bad.
        """
        registrar = next((each for each in self._core.roles if isinstance(each, Registrar)), None)
        if registrar is None:
            raise SIPError(405, text="this server has no registrar role")
        if not arguments or len(arguments) < _TAKES.get(arguments[0], 1000):
            raise SIPError(400, text=f"binding takes {', '.join(_TAKES)}, a user and more")
        turn = _Turn(self._core, registrar, arguments)
        self._core.turns.run(turn)
        return turn.done


class _Turn:
    """The operator's turn of one AOR; provides ``Turn``."""

    def __init__(self, core: Core, registrar: Registrar, arguments: Sequence[str]) -> None:
        self._core = core
        self._registrar = registrar
        self._action, self.aor = arguments[:2]
        self._arguments = arguments[2:]
        self._exists: bool | None = None
        #: Fires with the answer.
        self.done: Deferred[dict[str, Any]] = Deferred()

    def __repr__(self) -> str:
        return f"<the operator's {self._action} of {self.aor}>"

    def trust(self, now: float) -> Deferred[Any] | None:
        """See that the user exists; whoever can open the control socket may do this."""
        if self._exists is None:
            exists = self._core.authenticator.exists(self.aor)
            if isinstance(exists, Deferred):
                return exists.addCallback(self._learn)
            self._exists = exists
        if not self._exists:
            raise SIPError(404, text=f"there is no user {self.aor}")
        return None

    def _learn(self, exists: bool) -> None:
        self._exists = exists

    def decide(self, state: ResourceState, now: float) -> Outcome[dict[str, Any]]:
        """What becomes of the contacts."""
        registrar, action, rest = self._registrar, self._action, self._arguments
        if action == "create":
            if len(rest) != 2:
                raise SIPError(400, text="create takes one contact")
            made = registrar.create(state, rest[1], _seconds(rest[0]), now, self._core.identifiers)
            named = [each for each in made.of(Binding) if isinstance(each, Binding)]
            return Outcome(_told(named, now), made)
        named = _named(state, rest[_TAKES[action] - 2 :])
        ids = [each.id for each in named]
        changes = ChangeSet(state.aor)
        if action == "end":
            try:
                retry_after = _seconds(rest[1]) if rest[1] else None
                changes = registrar.deactivate(state, ids, rest[0], retry_after)
            except ValueError as error:
                raise SIPError(400, text=str(error)) from None
        elif action == "shorten":
            changes = registrar.shorten(state, ids, _seconds(rest[0]), now)
            named = [each for each in changes.of(Binding) if isinstance(each, Binding)]
        return Outcome(_told(named, now), changes)

    def answer(self, response: dict[str, Any]) -> None:
        """It is done, and committed."""
        self.done.callback(response)

    def refuse(self, error: SIPError) -> None:
        """It can't be done."""
        self.done.errback(error)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**31):
        raise SIPError(400, text=f"{text!r} is no number of seconds")
    return int(text)


def _named(state: ResourceState, contacts: Sequence[str]) -> list[Binding]:
    """The bindings of these contacts, or all."""
    known = {each.uri: each for each in state.bindings.values()}
    for contact in contacts:
        if contact not in known:
            raise SIPError(404, text=f"{contact} is no contact of {state.aor}")
    return [known[each] for each in contacts] if contacts else list(known.values())


def _told(bindings: Sequence[Binding], now: float) -> dict[str, Any]:
    return {
        "bindings": [
            {
                "contact": each.uri,
                "expires_in": max(0, round(each.expires_at - now)),
                "event": each.event,
                "user_agent": each.user_agent,
            }
            for each in bindings
        ]
    }
