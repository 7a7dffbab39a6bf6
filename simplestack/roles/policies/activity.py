"""The policy by which counts where the user is active."""

from collections.abc import Sequence
from typing import NamedTuple

from simplestack.documents.pidf import Device, Person, Presence, Tuple
from simplestack.roles.composition import Source
from simplestack.roles.conflicts import age, input_time
from simplestack.roles.policies.winner import Rank, WinnerPolicy

__all__ = ["LatestActivityPolicy"]


class _Inputs(NamedTuple):
    """When the user last did something, as one source tells it."""

    source: Source
    latest: float | None
    #: By device ID in lower case, the first of each.
    devices: dict[str, float | None]


class LatestActivityPolicy(WinnerPolicy):
    """The one with the latest ``<user-input>`` (RFC 4480 §3.14), then the newest.

    A component that tells no input of its own has that of its device, or else the latest that
    anything in the same document tells.
    """

    name = "latest-activity"

    def __init__(self, pivot: str = "contact") -> None:
        super().__init__(pivot)
        #: While a document is composed, what each source tells, for each of its components asks.
        self._inputs: dict[int, _Inputs] = {}

    def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
        """The document of the entity."""
        try:
            return super().compose(sources, entity, now)
        finally:
            self._inputs.clear()

    def rank(self, component: Tuple | Person | Device, source: Source) -> Rank:
        """When the user last did something there."""
        said = age(component, source)
        time = input_time(component.elements, said[0])
        if time is None:
            inputs = self._inputs.get(id(source))
            if inputs is None or inputs.source is not source:
                inputs = self._inputs[id(source)] = _read(source)
            if isinstance(component, Tuple) and component.device_id is not None:
                time = inputs.devices.get(component.device_id.lower())
            if time is None:
                time = inputs.latest
        return (-2.0 if time is None else time, *said)


def _read(source: Source) -> _Inputs:
    presence = source.presence
    devices: dict[str, float | None] = {}
    found: list[float] = []
    for components in (presence.devices, presence.tuples, presence.persons):
        for each in components:
            time = input_time(each.elements, age(each, source)[0])
            if isinstance(each, Device):
                devices.setdefault(each.device_id.lower(), time)
            if time is not None:
                found.append(time)
    return _Inputs(source, max(found, default=None), devices)
