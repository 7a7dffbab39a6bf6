"""What the running server says of a watcher and a presentity, for ``simplestack explain``."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from simplestack.app.core import Core
from simplestack.event.standing import standing
from simplestack.roles.explanation import explain
from simplestack.roles.presence import PresenceAgent
from simplestack.sip.errors import SIPError

__all__ = ["Explaining"]


class Explaining:
    """Answers with the rules, the policies and the state of this server."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def answer(self, arguments: Sequence[str]) -> Deferred[dict[str, Any]]:
        """What a watcher sees of a presentity, two AORs; the first "" if he is anonymous.

        Fails with SIPError where there is no such user, or presence is not served.
        """
        if len(arguments) != 2:
            raise SIPError(400, text="explain takes a watcher and a presentity")
        watcher, presentity = arguments
        known = self._core.authenticator.exists(presentity)
        exists: Deferred[bool] = known if isinstance(known, Deferred) else succeed(known)
        loaded: Deferred[None] = exists.addCallback(self._load, presentity)
        return loaded.addCallback(lambda _: self._explained(watcher, presentity))

    def _load(self, exists: bool, presentity: str) -> Deferred[None]:
        if not exists:
            raise SIPError(404, text=f"there is no user {presentity}")
        if self._core.residents.get(presentity) is not None:
            return succeed(None)
        return self._core.residents.load(presentity)

    def _explained(self, watcher: str, presentity: str) -> dict[str, Any]:
        for role in self._core.roles:
            if isinstance(role, PresenceAgent):
                package = role.package
                break
        else:
            raise SIPError(489, text="this server has no presence role")
        resident = self._core.residents.get(presentity)
        assert resident is not None
        now = self._core.clocks.wall()
        explanation = explain(resident.state, watcher, package.composer, package.authorization, now)
        subscriptions = [
            standing(usage, now)
            for record in resident.state.subscriptions.values()
            if record.watcher == watcher and record.package == package.name
            for usage in (resident.notifier.usage(record.id),)
            if usage is not None
        ]
        return {**explanation.as_dict(), "subscriptions": subscriptions}
