"""RFC 4745 and RFC 5025 once more: slow, plain, on XML alone, with nothing of the program in it."""

from copy import deepcopy
from datetime import datetime

from lxml import etree

CP = "{urn:ietf:params:xml:ns:common-policy}"
PR = "{urn:ietf:params:xml:ns:pres-rules}"
PIDF = "{urn:ietf:params:xml:ns:pidf}"
DM = "{urn:ietf:params:xml:ns:pidf:data-model}"
RPID = "{urn:ietf:params:xml:ns:pidf:rpid}"

HANDLINGS = ("block", "confirm", "polite-block", "allow")
INPUTS = ("false", "bare", "thresholds", "full")

#: What each boolean permission shows (RFC 5025 §3.3.2).
SHOWS = {
    "provide-activities": [f"{RPID}activities"],
    "provide-class": [f"{RPID}class"],
    "provide-deviceID": [f"{DM}deviceID"],
    "provide-mood": [f"{RPID}mood"],
    "provide-place-is": [f"{RPID}place-is"],
    "provide-place-type": [f"{RPID}place-type"],
    "provide-privacy": [f"{RPID}privacy"],
    "provide-relationship": [f"{RPID}relationship"],
    "provide-sphere": [f"{RPID}sphere"],
    "provide-status-icon": [f"{RPID}status-icon"],
    "provide-time-offset": [f"{RPID}time-offset"],
    "provide-note": [f"{PIDF}note", f"{DM}note"],
}
#: What is always shown of each component.
ALWAYS = {
    f"{PIDF}tuple": [
        f"{PIDF}status",
        f"{PIDF}contact",
        f"{PIDF}timestamp",
        f"{RPID}service-class",
    ],
    f"{DM}person": [f"{DM}timestamp"],
    f"{DM}device": [f"{DM}deviceID", f"{DM}timestamp"],
}


def handling_of(rules: etree._Element, watcher: str, sphere: str | None, now: float) -> str:
    """The maximum of what matching rules say, block without any."""
    found = [
        HANDLINGS.index((each.text or "").strip())
        for rule in matching(rules, watcher, sphere, now)
        for each in rule.iter(f"{PR}sub-handling")
    ]
    return HANDLINGS[max([0, *found])]


def matching(
    rules: etree._Element, watcher: str, sphere: str | None, now: float
) -> list[etree._Element]:
    """The rules all of whose conditions are TRUE."""
    found = []
    for rule in rules.findall(f"{CP}rule"):
        conditions = rule.find(f"{CP}conditions")
        if conditions is None or all(_holds(each, watcher, sphere, now) for each in conditions):
            found.append(rule)
    return found


def _holds(condition: etree._Element, watcher: str, sphere: str | None, now: float) -> bool:
    if condition.tag == f"{CP}identity":
        if not len(condition):
            return watcher == ""
        if watcher == "":
            return False
        for member in condition:
            if member.tag == f"{CP}one" and _same(member.get("id", ""), watcher):
                return True
            if member.tag == f"{CP}many":
                domain = member.get("domain")
                if domain is not None and domain.lower() != _host(watcher):
                    continue
                excepted = False
                for each in member.iter(f"{CP}except"):
                    if "id" in each.attrib and _same(each.get("id", ""), watcher):
                        excepted = True
                    if "domain" in each.attrib and each.get("domain", "").lower() == _host(watcher):
                        excepted = True
                if not excepted:
                    return True
        return False
    if condition.tag == f"{CP}sphere":
        wanted = condition.get("value", "").lower().split()
        return sphere is not None and sphere.lower() in wanted
    if condition.tag == f"{CP}validity":
        times = [datetime.fromisoformat(each.text or "").timestamp() for each in condition]
        return any(start <= now < end for start, end in zip(times[::2], times[1::2], strict=True))
    return False


def _same(one: str, other: str) -> bool:
    """The same URI: the scheme and the host without case, the user with it."""
    return _parts(one) == _parts(other)


def _parts(uri: str) -> tuple[str, str, str]:
    scheme, _, rest = uri.partition(":")
    user, _, host = rest.rpartition("@")
    return scheme.lower(), user, host.lower()


def _host(uri: str) -> str:
    return _parts(uri)[2] if uri.partition(":")[0] in ("sip", "sips") else ""


def shown_of(
    document: etree._Element, rules: etree._Element, watcher: str, sphere: str | None, now: float
) -> etree._Element:
    """What an allowed watcher sees of a presence document."""
    granted = [
        each
        for rule in matching(rules, watcher, sphere, now)
        for transformations in rule.findall(f"{CP}transformations")
        for each in transformations
    ]
    everything = any(each.tag == f"{PR}provide-all-attributes" for each in granted)
    names: set[str] = set()
    level = 0
    for each in granted:
        name = str(each.tag).removeprefix(PR)
        text = (each.text or "").strip()
        if name in SHOWS and text in ("true", "1"):
            names.update(SHOWS[name])
        elif name == "provide-user-input":
            level = max(level, INPUTS.index(text))
        elif name == "provide-unknown-attribute" and text in ("true", "1"):
            names.add(f"{{{each.get('ns')}}}{each.get('name')}")
    made = deepcopy(document)
    whole = everything
    for node in list(made):
        if node.tag in ALWAYS:
            if not _is_shown(node, granted):
                made.remove(node)
                continue
            if not everything:
                _reduce(node, names, level)
    for kind in ("services", "persons", "devices"):
        provided = [each for each in granted if each.tag == f"{PR}provide-{kind}"]
        whole = whole and any(each.find(f"{PR}all-{kind}") is not None for each in provided)
    for node in list(made):
        if node.tag in ALWAYS or (
            node.tag == f"{PIDF}note" and (everything or f"{PIDF}note" in names)
        ):
            continue
        # Of what belongs to the whole document a rule says nothing; all of it is for those who
        # see all the rest.
        if not whole:
            made.remove(node)
    return made


def _is_shown(node: etree._Element, granted: list[etree._Element]) -> bool:
    kind = {f"{PIDF}tuple": "services", f"{DM}person": "persons", f"{DM}device": "devices"}
    name = kind[str(node.tag)]
    for each in granted:
        if each.tag != f"{PR}provide-{name}":
            continue
        for member in each:
            value = (member.text or "").strip()
            what = str(member.tag).removeprefix(PR)
            contact = (node.findtext(f"{PIDF}contact") or "").strip()
            if (
                what == f"all-{name}"
                or (what == "class" and node.findtext(f"{RPID}class") == value)
                or (what == "occurrence-id" and node.get("id") == value)
                or (what == "deviceID" and node.findtext(f"{DM}deviceID") == value)
                or (what == "service-uri" and contact != "" and contact == value)
                or (what == "service-uri-scheme" and contact.partition(":")[0] == value)
            ):
                return True
    return False


def _reduce(node: etree._Element, names: set[str], level: int) -> None:
    """Leave of a component what is granted."""
    for child in list(node):
        if child.tag == f"{RPID}user-input":
            if level == 0:
                node.remove(child)
            if level < 3:
                child.attrib.pop("last-input", "")
            if level < 2:
                child.attrib.pop("idle-threshold", "")
        elif child.tag not in ALWAYS[str(node.tag)] and child.tag not in names:
            node.remove(child)
        elif child.tag == f"{PIDF}status":
            for extension in list(child):
                if extension.tag != f"{PIDF}basic":
                    child.remove(extension)
