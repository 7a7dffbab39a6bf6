"""Presence authorization by the documents of the user: pres-rules (RFC 5025)."""

from typing import Final

from zope.interface import implementer

from simplestack.interfaces import Decision, IAuthorizationPolicy
from simplestack.roles.rules import BLOCKED, EVERYTHING, NOTHING, POLITE
from simplestack.roles.rulings import Rulings
from simplestack.state import ChangeSet, ResourceState

__all__ = ["DEFAULTS", "PresRulesPolicy"]

#: What becomes of a watcher of whom no rule says anything, by handling.
DEFAULTS: Final = {
    "block": BLOCKED,
    "confirm": Decision("confirm", NOTHING),
    "polite-block": Decision("polite-block", POLITE),
    "allow": Decision("allow", EVERYTHING),
}
_OWNER: Final = DEFAULTS["allow"]


@implementer(IAuthorizationPolicy)
class PresRulesPolicy:
    """What the rules documents of a user let a watcher see; the user himself sees everything.

    ``default_handling`` is what becomes of a watcher where the user has no rules document; of
    several documents all rules count (RFC 5025 §9.7).  It is for watchers that are known by name:
    an anonymous one gets nothing that the user's own rules don't give.  The decisions of the
    last ``max_remembered`` AORs are kept, and twice as many at most.
    """

    name = "pres-rules"

    def __init__(self, *, default_handling: str = "confirm", max_remembered: int = 4096) -> None:
        if default_handling not in DEFAULTS:
            raise ValueError(f"{default_handling!r} is not one of {', '.join(DEFAULTS)}")
        self.default = DEFAULTS[default_handling]
        # Policies are made subclasses of, which a compiled class does not take; it is compiled.
        self._rulings = Rulings(max_remembered)

    def configured(self, default_handling: str) -> "PresRulesPolicy":
        """This policy with the operator's default handling."""
        return PresRulesPolicy(default_handling=default_handling)

    def decide(self, state: ResourceState, watcher: str, package: str, now: float) -> Decision:
        """What the rules of the AOR say; a document that can't be read blocks."""
        if watcher == state.aor:
            return _OWNER
        return self._rulings.decide(state, watcher, self.default, now)

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """A change of the rules, or of publications where a rule asks for the sphere."""
        return self._rulings.reauthorizes(changes)

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """The next begin or end of a validity in the rules, or of a sphere that they ask for."""
        return self._rulings.boundary(state, now)
