"""What the subscriber of a list knows of its resources (RFC 4662 §5.6)."""

from typing import NamedTuple

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import parse_multipart
from simplestack.documents.rlmi import MEDIA_TYPE, parse_rlmi

__all__ = ["LIST_TYPES", "ListRow", "ListTable"]

#: What a subscriber of lists accepts beside the types of the package (RFC 4662 §4.3).
LIST_TYPES = ("multipart/related", MEDIA_TYPE)


class ListRow(NamedTuple):
    """What is known of one resource."""

    uri: str
    #: Its name in the list, "" for none.
    name: str
    #: active, pending, terminated; "" where nothing is known yet.
    state: str
    reason: str
    content_type: str
    body: bytes


class ListTable:
    """The table that NOTIFYs of one subscription add up to.

    A list within the list, which another server has (§6), stands as the resources in it.
    """

    def __init__(self) -> None:
        self.rows: dict[str, ListRow] = {}
        self._version = -1
        #: Lists within the list, and who of the rows is in which of them.
        self._inside: dict[str, dict[str, ListRow]] = {}

    def take(self, body: bytes) -> list[ListRow] | None:
        """Take a multipart body; the rows that are new or have changed.

        None says that something was missed, so that full state must be asked for by a refresh
        (§5.6.2).  Raises DocumentError.
        """
        _, found, rest = (b"\r\n" + body).partition(b"\r\n--")
        boundary = rest.partition(b"\r\n")[0].rstrip()
        if not found:
            raise DocumentError("the body has no parts")
        root, *others = parse_multipart(body, boundary.decode("latin-1"))
        if not root.content_type.lower().startswith(MEDIA_TYPE):
            raise DocumentError("the body does not begin with a list")
        rlmi = parse_rlmi(root.body)
        if rlmi.full_state:
            self._version = -1
            before, self.rows = self.rows, {}
            self._inside.clear()
        elif rlmi.version <= self._version:
            return []
        else:
            before = dict(self.rows)
        missed = not rlmi.full_state and rlmi.version != self._version + 1
        self._version = rlmi.version
        parts = {each.content_id: each for each in others}
        for resource in rlmi.resources:
            name = resource.names[0].text if resource.names else ""
            row = ListRow(resource.uri, name, "", "", "", b"")
            for instance in resource.instances:
                part = parts.get(instance.cid)
                content = ("", b"") if part is None else (part.content_type, part.body)
                row = ListRow(resource.uri, name, instance.state, instance.reason or "", *content)
            self._set(row)
        if missed:
            return None
        return [row for uri, row in self.rows.items() if before.get(uri) != row]

    def _set(self, row: ListRow) -> None:
        """Enter a row, or those of a list within the list."""
        for uri in self._inside.pop(row.uri, ()):
            self.rows.pop(uri, None)
        if not row.content_type.lower().startswith("multipart/related"):
            self.rows[row.uri] = row
            return
        table = ListTable()
        table.take(row.body)
        self.rows.pop(row.uri, None)
        here = {uri: each for uri, each in table.rows.items() if uri not in self.rows}
        self._inside[row.uri] = here
        self.rows.update(here)
