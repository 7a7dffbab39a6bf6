"""Documents that watcher filters are applied to: what of them must stay, and what is their state."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import SchemaError
from simplestack.documents.schema import Schema

__all__ = ["Filterable", "filterable", "standing_part"]

_PIDF: Final = f"{{{ns.PIDF}}}"
_DM: Final = f"{{{ns.DATA_MODEL}}}"
_WATCHERINFO: Final = f"{{{ns.WATCHERINFO}}}"
_REGINFO: Final = f"{{{ns.REGINFO}}}"

_Names = Mapping[str, frozenset[str]]


class Filterable(NamedTuple):
    """What the schema of a document wants of its elements, and what of it passes by itself."""

    #: Begins the names of the elements of the document's own type.
    namespace: str = "?"
    schema: Schema | None = None
    #: Attributes that an element must have, and children with their content.
    attributes: _Names = {}
    children: _Names = {}
    #: Attributes that say how long something lasts.
    volatile: frozenset[str] = frozenset()
    #: Elements that, with a state of "terminated", are told once and then no more.
    ending: Mapping[str, str] = {}

    def is_valid(self, root: etree._Element) -> bool:
        """Whether the document is valid, as far as its schema is known."""
        if self.schema is None:
            return False
        try:
            self.schema.validate(root)
        except SchemaError:
            return False
        return True


_UNKNOWN: Final = Filterable()
_KINDS: Final[Mapping[str, Filterable]] = {
    f"{_PIDF}presence": Filterable(
        _PIDF,
        Schema("all-presence"),
        {
            f"{_PIDF}presence": frozenset({"entity"}),
            f"{_PIDF}tuple": frozenset({"id"}),
            f"{_DM}person": frozenset({"id"}),
            f"{_DM}device": frozenset({"id"}),
        },
        {
            f"{_PIDF}tuple": frozenset({f"{_PIDF}status"}),
            f"{_PIDF}status": frozenset({f"{_PIDF}basic"}),
            f"{_DM}device": frozenset({f"{_DM}deviceID"}),
        },
    ),
    f"{_WATCHERINFO}watcherinfo": Filterable(
        _WATCHERINFO,
        Schema("watcherinfo"),
        {
            f"{_WATCHERINFO}watcherinfo": frozenset({"version", "state"}),
            f"{_WATCHERINFO}watcher-list": frozenset({"resource", "package"}),
            f"{_WATCHERINFO}watcher": frozenset({"id", "status", "event"}),
        },
        volatile=frozenset({"expiration", "duration-subscribed"}),
        ending={f"{_WATCHERINFO}watcher": "status"},
    ),
    f"{_REGINFO}reginfo": Filterable(
        _REGINFO,
        Schema("all-reginfo"),
        {
            f"{_REGINFO}reginfo": frozenset({"version", "state"}),
            f"{_REGINFO}registration": frozenset({"aor", "id", "state"}),
            f"{_REGINFO}contact": frozenset({"id", "state", "event"}),
        },
        {f"{_REGINFO}contact": frozenset({f"{_REGINFO}uri"})},
        frozenset({"expires", "duration-registered", "retry-after"}),
        {f"{_REGINFO}contact": "state"},
    ),
}


def filterable(root: etree._Element) -> Filterable:
    """What is known of documents with this root."""
    return _KINDS.get(str(root.tag), _UNKNOWN)


def standing_part(root: etree._Element, ended: bool) -> bytes:
    """What a document says but for times that pass by themselves, in canonical form.

    Without ``ended`` what it tells once, because it has just ended, is left out.
    """
    kind = filterable(root)
    made = deepcopy(root)
    made.attrib.pop("version", "")
    for node in list(made.iter("*")):
        state = kind.ending.get(str(node.tag))
        if state is not None and not ended and node.get(state) == "terminated":
            parent = node.getparent()
            if parent is not None:
                parent.remove(node)
                continue
        for name in kind.volatile:
            node.attrib.pop(name, "")
    return etree.tostring(made, method="c14n")
