"""The policy by which counts where the user is active."""

from simplestack.documents.pidf import Device, Person, Tuple
from simplestack.roles.composition import Source
from simplestack.roles.conflicts import age, input_time
from simplestack.roles.policies.winner import Rank, WinnerPolicy

__all__ = ["LatestActivityPolicy"]


class LatestActivityPolicy(WinnerPolicy):
    """The one with the latest ``<user-input>`` (RFC 4480 §3.14), then the newest.

    A component that tells no input of its own has that of its device, or else the latest that
    anything in the same document tells.
    """

    name = "latest-activity"

    def rank(self, component: Tuple | Person | Device, source: Source) -> Rank:
        """When the user last did something there."""
        said = age(component, source)
        time = input_time(component.elements, said[0])
        if time is None and isinstance(component, Tuple) and component.device_id is not None:
            time = _of_device(component.device_id, source)
        if time is None:
            time = _of_document(source)
        return (-2.0 if time is None else time, *said)


def _of_device(device_id: str, source: Source) -> float | None:
    for device in source.presence.devices:
        if device.device_id.lower() == device_id.lower():
            return input_time(device.elements, age(device, source)[0])
    return None


def _of_document(source: Source) -> float | None:
    presence = source.presence
    found = [
        input_time(each.elements, age(each, source)[0])
        for components in (presence.tuples, presence.persons, presence.devices)
        for each in components
    ]
    return max([time for time in found if time is not None], default=None)
