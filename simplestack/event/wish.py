"""What a subscriber may see, of what he has asked for in the body of his SUBSCRIBE."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from simplestack.event.entity import Entity
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.state import ResourceState, Subscription

__all__ = ["Known", "Steps", "Trail", "decide", "narrow", "other_wish"]

#: So many states that a subscriber may know are remembered.
_REMEMBERED: Final = 16


class Known(NamedTuple):
    """What a subscriber may know when he is told of a state."""

    #: The full states before, in order, from the last one that he has answered on.  He has one of
    #: them, and where ``whole`` is set perhaps none.
    trail: Sequence[Body]
    whole: bool
    #: Whether he was told things before of which nothing is known here.
    again: bool
    #: Whether states between those of the trail have been forgotten.
    broken: bool
    #: When he has subscribed, in seconds of the wall clock.
    since: float


class Steps(Protocol):
    """What a package says to a subscriber who knows earlier states: its method ``told``.

    A package that has it also has ``joins(permissions)``: whether one step may be told for several
    where the states between them were never sent.
    """

    def __call__(self, permissions: Hashable, known: Known, body: Body) -> Body:
        """The body that tells somebody who knows this of the state in ``body``."""


def decide(
    package: IEventPackage, state: ResourceState, record: Subscription, now: float
) -> Decision:
    """What a subscriber may see and wants to see.

    A package that lets subscribers choose by the body or by Event parameters has a method
    ``narrowed(permissions, subscription)``, which gives the permissions for what is chosen of
    that which they let through.  It raises SIPError where it can't make sense of the body; of a
    subscription that it has accepted before it must not.  Others have none, or None in its place,
    which is found sooner.
    """
    return narrow(package, package.authorize(state, record.watcher, now), record)


def narrow(package: IEventPackage, decision: Decision, record: Subscription) -> Decision:
    """The decision for what a subscriber chooses of that which he may see."""
    narrowed = getattr(package, "narrowed", None)
    if narrowed is None:
        return decision
    return Decision(decision.handling, narrowed(decision.permissions, record))


def other_wish(
    packages: Mapping[str, IEventPackage], before: Subscription, after: Subscription
) -> bool:
    """Whether a subscriber has made another choice by his refresh."""
    if (before.body, before.event_params) == (after.body, after.event_params):
        return False
    return getattr(packages.get(after.package), "narrowed", None) is not None


class Trail:
    """The states that one subscriber was told, from the last one that he surely knows on."""

    __slots__ = ("_again", "_broken", "_entities", "_joins", "_sent", "_since", "_whole")

    def __init__(self, again: bool, since: float, joins: bool) -> None:
        self._entities: list[Entity] = []
        #: Which of them have been sent.
        self._sent: list[bool] = []
        #: Whether he may know nothing at all.
        self._whole = True
        self._again = again
        self._broken = False
        self._since = since
        self._joins = joins

    def restart(self) -> None:
        """He wants to be told everything."""
        self._entities.clear()
        self._sent.clear()
        self._whole = True
        self._again = True
        self._broken = False

    def step(self, steps: Steps, permissions: Hashable, entity: Entity) -> Body:
        """What tells him of an entity, which he will know then."""
        body = steps(permissions, self._known(self._entities), entity.body)
        self._append(entity)
        return body

    def passes(self, entity: Entity) -> None:
        """This is the state now, of which nothing is told yet."""
        if not self._joins and self._entities:
            self._append(entity)

    def sent(self, tag: str) -> None:
        """The state with this entity-tag is on its way to him."""
        number = self._find(tag)
        if number is not None:
            self._sent[number] = True

    def joined(self, steps: Steps, permissions: Hashable, tag: str) -> Body | None:
        """What tells him of the state with this entity-tag that waited to be sent.

        Now it is known which of the states before he may have: the others are passed over.  None
        where it is as it was told, or nothing is known of it.
        """
        number = self._find(tag)
        if not self._joins or number is None:
            return None
        for each in range(number - 1, 0, -1):
            if not self._sent[each]:
                del self._entities[each], self._sent[each]
                number -= 1
        entities = self._entities
        return steps(permissions, self._known(entities[:number]), entities[number].body)

    def knows(self, tag: str) -> None:
        """He has the state with this entity-tag, for he has answered to it."""
        for number, entity in enumerate(self._entities):
            if entity.tag == tag:
                del self._entities[:number], self._sent[:number]
                self._whole = False
                self._broken = self._broken and not number
                break

    def _known(self, entities: list[Entity]) -> Known:
        trail = [each.body for each in entities]
        return Known(trail, self._whole, self._again, self._broken, self._since)

    def _append(self, entity: Entity) -> None:
        if self._entities and self._entities[-1] is entity:
            return
        self._entities.append(entity)
        self._sent.append(False)
        if len(self._entities) > _REMEMBERED:
            # The oldest but the one that he surely knows, of those that he can't know if there are.
            number = self._sent.index(False, 1) if self._joins else 1
            del self._entities[number], self._sent[number]
            self._broken = not self._joins

    def _find(self, tag: str) -> int | None:
        for number in range(len(self._entities) - 1, -1, -1):
            if self._entities[number].tag == tag:
                return number
        return None
