"""A list of another server within a list of ours, as its NOTIFYs add up (RFC 4662 §5.6, §6)."""

from typing import Final

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import Part, free_boundary, parse_multipart, write_multipart
from simplestack.documents.rlmi import MEDIA_TYPE as RLMI_TYPE
from simplestack.documents.rlmi import ListName, Resource, Rlmi, parse_rlmi
from simplestack.sip.errors import SIPError
from simplestack.sip.fields.media import parse_media_type

__all__ = ["RELATED", "NestedList"]

RELATED: Final = "multipart/related"
#: Resources that are kept of one list.
_MOST: Final = 1_000
#: Octets that the state of all of them may have; what is beyond stands without an instance.
_LARGEST: Final = 65_536


class NestedList:
    """The table of one subscription to a list elsewhere, and the body that tells all of it.

    A list that leaves out what came between two of its own NOTIFYs can't pass on partial ones.
    """

    __slots__ = ("_names", "_rows", "_uri", "_version")

    def __init__(self) -> None:
        self._uri = ""
        self._names: tuple[ListName, ...] = ()
        self._version: int | None = None
        self._rows: dict[str, tuple[Resource, tuple[Part, ...]]] = {}

    def take(self, content_type: str, body: bytes) -> tuple[str, bytes] | None:
        """Take a NOTIFY; the content type and octets of the whole list.

        None says that something was missed, so that full state must be asked for by a refresh
        (§5.6.2).  Raises DocumentError where the body can't be read.
        """
        try:
            media_type = parse_media_type(content_type)
        except SIPError as error:
            raise DocumentError(error.text) from None
        parts = parse_multipart(body, media_type.param("boundary") or "")
        found = {part.content_id: part for part in parts if part.content_id}
        start = (media_type.param("start") or "").strip("<>")
        root = found.get(start) if start else next(iter(parts), None)
        if root is None or not root.content_type.lower().startswith(RLMI_TYPE):
            raise DocumentError("the body does not begin with a list")
        rlmi = parse_rlmi(root.body)
        if rlmi.full_state:
            self._rows.clear()
        elif self._version is None or rlmi.version != self._version + 1:
            return None
        self._version = rlmi.version
        self._uri, self._names = rlmi.uri, rlmi.names
        for resource in rlmi.resources:
            if resource.uri in self._rows or len(self._rows) < _MOST:
                self._rows[resource.uri] = _row(resource, found)
        return self._written()

    def _written(self) -> tuple[str, bytes]:
        resources: list[Resource] = []
        parts: list[Part] = []
        used: set[str] = set()
        size = 0
        for resource, its in self._rows.values():
            octets = sum([len(part.body) for part in its])
            names = {part.content_id or "" for part in its}
            if size + octets > _LARGEST or names & used:
                # "no <instance> elements will be present" (§4.5)
                resources.append(resource._replace(instances=()))
                continue
            size += octets
            used |= names
            resources.append(resource)
            parts += its
        root = Rlmi(self._uri, self._version or 0, True, self._names, tuple(resources)).to_bytes()
        start = "list"
        while start in used:
            start += "."
        head = (("Content-ID", f"<{start}>"), ("Content-Type", f'{RLMI_TYPE};charset="UTF-8"'))
        parts.insert(0, Part(head, root))
        boundary = free_boundary(parts, "nested")
        return (
            f'{RELATED};type="{RLMI_TYPE}";start="<{start}>";boundary={boundary}',
            write_multipart(parts, boundary),
        )


def _row(resource: Resource, found: dict[str, Part]) -> tuple[Resource, tuple[Part, ...]]:
    """A resource with the parts that its instances name."""
    its = []
    for instance in resource.instances:
        if instance.cid is None:
            continue
        part = found.get(instance.cid)
        if part is None or part.content_type.lower().startswith("multipart/"):
            # "Implementors of RLSes that create back-end subscriptions MUST implement safeguards
            # to prevent such nestings from creating an infinite loop" (§7.4): what is in a list
            # elsewhere is shown, a list in that is not.
            return resource._replace(instances=()), ()
        its.append(part)
    return resource, tuple(its)
