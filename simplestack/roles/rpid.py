"""The values of RPID (RFC 4480) and timed status (RFC 4481) that the presence agent reads."""

from typing import Final

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, length
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Presence
from simplestack.documents.timestamps import parse_timestamp
from simplestack.sip.memory import remember_short

__all__ = ["check"]

_RPID: Final = f"{{{ns.RPID}}}"
_CHECKED: Final = (ns.RPID, ns.TIMED_STATUS)
#: Elements whose values are elements (RFC 4480 §3).
_ENUMERATIONS: Final = frozenset(
    ["activities", "mood", "place-is", "place-type", "privacy", "relationship", "service-class"]
)
#: Only these have a period (RFC 4480 §3, table 1).
_TIMED: Final = frozenset(
    [
        "activities",
        "mood",
        "place-is",
        "place-type",
        "privacy",
        "sphere",
        "status-icon",
        "time-offset",
        "timed-status",
    ]
)


def check(presence: Presence) -> None:
    """See that every value that is evaluated here can be.

    Values of names that are not known are kept: "other" values of elements come from other
    namespaces and later documents.

    :raises DocumentError: naming the element whose value can't be read.
    """
    for service in presence.tuples:
        _check(service.elements)
        _check(service.status)
    for component in presence.persons + presence.devices:
        _check(component.elements)


def _check(elements: tuple[Element, ...]) -> None:
    for each in elements:
        if each.namespace in _CHECKED:
            error = _problem(each)
            if error is not None:
                raise DocumentError(error)


@remember_short(2048, length)
def _problem(each: Element) -> str | None:
    """What is wrong with an element, if anything is."""
    tree = each.tree()
    name = each.local
    text = (tree.text or "").strip()
    if name in _TIMED:
        wrong = _period(tree)
        if wrong is not None:
            return wrong
    if name == "timed-status":
        if tree.get("from") is None:
            return "<timed-status> has no from"
    elif name == "user-input":
        if text not in ("active", "idle"):
            return "<user-input> is neither active nor idle"
        threshold = tree.get("idle-threshold")
        if threshold is not None and not (threshold.isascii() and threshold.isdigit()):
            return "the idle-threshold of <user-input> is not a number of seconds"
        return _moment(tree, "last-input")
    elif name == "time-offset":
        digits = text.removeprefix("-").removeprefix("+")
        if not (digits.isascii() and digits.isdigit()):
            return "<time-offset> is not a number of minutes"
    elif name in _ENUMERATIONS and text and each.name.startswith(_RPID):
        return f"<{name}> holds text in place of elements"
    return None


def _period(tree: etree._Element) -> str | None:
    for name in ("from", "until"):
        wrong = _moment(tree, name)
        if wrong is not None:
            return wrong
    start, end = tree.get("from"), tree.get("until")
    if start is not None and end is not None and parse_timestamp(end) < parse_timestamp(start):
        return f"<{tree.tag.rpartition('}')[2]}> ends before it begins"
    return None


def _moment(tree: etree._Element, name: str) -> str | None:
    value = tree.get(name)
    if value is None:
        return None
    try:
        parse_timestamp(value)
    except DocumentError as error:
        return f"{name} of <{tree.tag.rpartition('}')[2]}>: {error.message}"
    return None
