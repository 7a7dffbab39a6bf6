"""What a subscriber may see, of what he has asked for in the body of his SUBSCRIBE."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

from simplestack.event.entity import Entity
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.state import ResourceState, Subscription

__all__ = ["Steps", "Trail", "decide", "narrow", "other_wish"]

#: So many states that a subscriber may know are remembered.
_REMEMBERED = 8


class Steps(Protocol):
    """What a package says to a subscriber who knows earlier states: its method ``told``."""

    def __call__(
        self, permissions: Hashable, trail: Sequence[Body], body: Body, whole: bool, again: bool
    ) -> Body:
        """The body for the state in ``body``.

        ``trail`` are the full states of the notifications before, from the last one that was
        answered on, in order; the subscriber has one of them, and where ``whole`` is set perhaps
        none.  ``again`` says that he was told things before of which nothing is known here.
        """


def decide(
    package: IEventPackage, state: ResourceState, record: Subscription, now: float
) -> Decision:
    """What a subscriber may see and wants to see.

    A package that lets subscribers choose by the body or by Event parameters has a method
    ``narrowed(permissions, subscription)``, which gives the permissions for what is chosen of
    that which they let through.  It raises SIPError where it can't make sense of the body; of a
    subscription that it has accepted before it must not.
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
    return hasattr(packages.get(after.package), "narrowed")


class Trail:
    """The states that one subscriber was told, from the last one that he surely knows on."""

    __slots__ = ("_entities", "_whole", "again")

    def __init__(self, again: bool) -> None:
        self._entities: list[Entity] = []
        #: Whether he may know nothing at all.
        self._whole = True
        self.again = again

    def restart(self) -> None:
        """He wants to be told everything."""
        self._entities.clear()
        self._whole = True
        self.again = True

    def step(self, steps: Steps, permissions: Hashable, entity: Entity) -> Body:
        """What tells him of an entity, which he will know then."""
        entities = self._entities
        trail = [each.body for each in entities]
        body = steps(permissions, trail, entity.body, self._whole, self.again)
        if not entities or entities[-1] is not entity:
            entities.append(entity)
            if len(entities) > _REMEMBERED:
                del entities[1]
        return body

    def knows(self, tag: str) -> None:
        """He has the state with this entity-tag, for he has answered to it."""
        for number, entity in enumerate(self._entities):
            if entity.tag == tag:
                del self._entities[:number]
                self._whole = False
                break
