"""The capabilities of a registered contact (RFC 3840) as a service tells them (RFC 5196)."""

import re
from typing import Final

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import parse_name_addr
from simplestack.sip.memory import remember_short

__all__ = ["servcaps"]

# RFC 5196 §3.2, in the order of its schema: the element, the feature tag (RFC 3840 §9), and
# what holds its values.  The names of methods, events and the like are elements themselves.
_BOOLEANS: Final = {
    "application": "application",
    "audio": "audio",
    "automata": "automata",
    "control": "control",
    "data": "data",
    "isfocus": "isfocus",
    "message": "message",
    "text": "text",
    "video": "video",
}
_LISTS: Final = {
    "actor": "actor",
    "class": "class",
    "duplex": "duplex",
    "event-packages": "events",
    "extensions": "extensions",
    "methods": "methods",
}
_VALUES: Final = {"languages": ("language", "l"), "schemes": ("schemes", "s")}
_ORDER: Final = (
    "actor", "application", "audio", "automata", "class", "control", "data", "description",
    "duplex", "event-packages", "extensions", "isfocus", "message", "methods", "languages",
    "priority", "schemes", "text", "type", "video",
)  # fmt: skip
_NUMBER: Final = r"[+-]?\d{1,18}(?:\.\d{0,9})?"
#: RFC 3840 §9: ``numeric``.
_NUMERIC: Final = re.compile(rf"#(>=|<=|=|{_NUMBER}:)({_NUMBER})", re.ASCII)
# In the order of the schema (RFC 5196 §6), whose name for the second one is "higherhan"; in §3.2.15.2
# it has all its letters.
_RELATIONS: Final = {
    "=": ("equals", "value"),
    ">=": ("higherthan", "minvalue"),
    "<=": ("lowerthan", "maxvalue"),
}
# The members of these sets in the order of the schema; others have no element.
_KNOWN: Final = {
    "actor": ("attendant", "information", "msg-taker", "principal"),
    "class": ("business", "personal"),
    "duplex": ("full", "half", "receive-only", "send-only"),
    "event-packages": (
        "conference", "dialog", "kpml", "message-summary", "poc-settings", "presence", "reg",
        "refer", "winfo",
    ),
    "extensions": (
        "rel100", "early-session", "eventlist", "from-change", "gruu", "hist-info", "join",
        "norefersub", "path", "precondition", "pref", "privacy", "recipient-list-invite",
        "recipient-list-subscribe", "replaces", "resource-priority", "sdp-anat", "sec-agree",
        "tdialog", "timer",
    ),
    "methods": (
        "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK",
        "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE",
    ),
}  # fmt: skip


def servcaps(params: str) -> Element | None:
    """The ``<servcaps>`` of Contact parameters such as ``;audio;methods="INVITE"``.

    None where they tell no capability.  What identifies the device (the instance, the reg-id)
    is no capability and never in it.
    """
    return _read(params) if params else None


@remember_short(2048, str.__len__)
def _read(params: str) -> Element | None:
    try:
        contact = parse_name_addr(f"<sip:a>{params}")
    except SIPError:
        return None
    features = {}
    for name, value in contact.params:
        # "the feature tag is encoded by prefixing it with +" where it is not of the base set
        # (RFC 3840 §9); sip.message was registered later.
        name = name.lower()
        if name.startswith("+sip."):
            name = name[5:]
        features[name] = "TRUE" if not value else value.strip('"')
    found: dict[str, Element] = {}
    for name, tag in _BOOLEANS.items():
        if tag in features:
            has = features[tag].upper() != "FALSE"
            found[name] = element(ns.CAPS, name, "true" if has else "false")
    for name, tag in _LISTS.items():
        if tag in features:
            _put(found, name, _sets(features[tag], name))
    for name, (tag, child) in _VALUES.items():
        if tag in features:
            _put(found, name, _texts(features[tag], child))
    if "description" in features:
        found["description"] = element(
            ns.CAPS, "description", features["description"].strip("<>"), [("xml:lang", "en")]
        )
    if "priority" in features:
        _put(found, "priority", _ranges(features["priority"]))
    if "type" in features and (types := _split(features["type"])[0]):
        found["type"] = element(ns.CAPS, "type", types[0])
    if not found:
        return None
    return element(ns.CAPS, "servcaps", [found[name] for name in _ORDER if name in found])


def _split(text: str) -> tuple[list[str], list[str]]:
    """The values that are supported, and those that are not: ``!`` negates (RFC 2533)."""
    yes: list[str] = []
    no: list[str] = []
    for each in text.split(","):
        each = each.strip().strip("<>")
        if each.startswith("!"):
            no.append(each[1:].strip("<>"))
        elif each:
            yes.append(each)
    return yes, no


def _put(found: dict[str, Element], name: str, children: list[Element]) -> None:
    if children:
        found[name] = element(ns.CAPS, name, children)


def _sets(text: str, name: str) -> list[Element]:
    children = []
    for which, values in zip(("supported", "notsupported"), _split(text), strict=True):
        wanted = {value.lower() for value in values}
        # An option tag begins with a digit that the name of an element can't: 100rel.
        if "100rel" in wanted:
            wanted.add("rel100")
        names = [each for each in _KNOWN[name] if each.lower() in wanted]
        if names:
            children.append(element(ns.CAPS, which, [element(ns.CAPS, each) for each in names]))
    return children


def _ranges(text: str) -> list[Element]:
    """Numbers and ranges of them, such as ``#<=20,!#30:40`` (RFC 3840 §9).

    Those that are no integers have no element (RFC 5196 §6).
    """
    children = []
    for which, values in zip(("supported", "notsupported"), _split(text), strict=True):
        found: list[Element] = []
        for value in values:
            match = _NUMERIC.fullmatch(value)
            number = None if match is None else _integer(match[2])
            if match is None or number is None:
                continue
            if match[1] in _RELATIONS:
                name, attribute = _RELATIONS[match[1]]
                found.append(element(ns.CAPS, name, "", [(attribute, number)]))
            elif (first := _integer(match[1][:-1])) is not None:
                bounds = [("minvalue", first), ("maxvalue", number)]
                found.append(element(ns.CAPS, "range", "", bounds))
        if found:
            # By name they are in the order of the schema.
            found.sort(key=lambda each: each.local)
            children.append(element(ns.CAPS, which, found))
    return children


def _integer(number: str) -> str | None:
    whole, _, fraction = number.partition(".")
    return None if fraction.strip("0") else str(int(whole))


def _texts(text: str, child: str) -> list[Element]:
    return [
        element(ns.CAPS, which, [element(ns.CAPS, child, each) for each in sorted(set(values))])
        for which, values in zip(("supported", "notsupported"), _split(text), strict=True)
        if values
    ]
