"""Detailed conflict reports: ``application/xcap-error+xml`` (RFC 4825 §11)."""

from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, declarations, read
from simplestack.documents.errors import DocumentError, SchemaError, XMLError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.xml import local_name, parse_content, required

MEDIA_TYPE: Final = "application/xcap-error+xml"

CONDITIONS: Final = frozenset(
    {
        "not-well-formed",
        "not-xml-frag",
        "no-parent",
        "schema-validation-error",
        "not-xml-att-value",
        "cannot-insert",
        "cannot-delete",
        "uniqueness-failure",
        "constraint-failure",
        "extension",
        "not-utf-8",
    }
)

_NS: Final = f"{{{ns.XCAP_ERROR}}}"


class Exists(NamedTuple):
    """Something that should be unique and is not.

    ``field`` is a percent-encoded node selector that begins with the root
    element; ``alternatives`` are values that would do.
    """

    field: str
    alternatives: tuple[str, ...] = ()


class ConflictReport(NamedTuple):
    """Why a request was answered with 409.

    ``condition`` is one of :data:`CONDITIONS`; ``phrase`` is for a person and
    cannot go with ``extension``; ``ancestor`` goes with ``no-parent``,
    ``exists`` with ``uniqueness-failure``, ``extensions`` with ``extension``.
    """

    condition: str
    phrase: str | None = None
    ancestor: str | None = None
    exists: tuple[Exists, ...] = ()
    extensions: tuple[Element, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        inner = "".join([each.xml for each in self.extensions])
        if self.ancestor is not None:
            inner += f"<ancestor>{text(self.ancestor)}</ancestor>"
        for field, alternatives in self.exists:
            values = "".join([f"<alt-value>{text(value)}</alt-value>" for value in alternatives])
            inner += f'<exists field="{attribute(field)}">{values}</exists>'
        head = self.condition
        if self.phrase is not None and self.condition != "extension":
            head += f' phrase="{attribute(self.phrase)}"'
        return (
            f'{DECLARATION}<xcap-error xmlns="{ns.XCAP_ERROR}"{declarations(inner)}>'
            f"<{head}>{inner}</{self.condition}></xcap-error>"
        ).encode()


def parse_conflict_report(data: bytes) -> ConflictReport:
    """Read a conflict report.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not one condition of RFC 4825.
    """
    root = parse_content(data)
    if root.tag != _NS + "xcap-error" or len(root) != 1:
        raise DocumentError(f"the root element is not <xcap-error> of {ns.XCAP_ERROR} with a child")
    node = root[0]
    condition = local_name(node)
    if node.tag != _NS + condition or condition not in CONDITIONS:
        raise DocumentError(f"<{condition}> is not a condition of RFC 4825")
    if condition == "extension":
        return ConflictReport(condition, extensions=tuple(read(child) for child in node))
    ancestor = node.findtext(_NS + "ancestor")
    return ConflictReport(
        condition,
        node.get("phrase"),
        None if ancestor is None else ancestor.strip(),
        tuple(
            Exists(
                required(each, "field"),
                tuple(value.text or "" for value in each.iterchildren(_NS + "alt-value")),
            )
            for each in node.iterchildren(_NS + "exists")
        ),
    )


class XCAPError(Exception):
    """A request that is refused with a conflict report as its body.

    ``status`` is 409, or 413 for a document beyond the limits of the server.
    """

    def __init__(self, report: ConflictReport, status: int = 409) -> None:
        super().__init__(report.phrase or report.condition)
        self.report = report
        self.status = status

    @classmethod
    def of(cls, error: DocumentError) -> "XCAPError":
        """Refuse a document for what is wrong with it."""
        too_much = isinstance(error, XMLError) and error.kind.startswith("too-")
        return cls(report(error), 413 if too_much else 409)


def report(error: DocumentError) -> ConflictReport:
    """Report what is wrong with a whole document that was put.

    A document type declaration is well-formed and still not taken, so that it
    is a constraint that it violates.
    """
    if isinstance(error, XMLError):
        if error.kind in ("not-utf-8", "not-well-formed"):
            return ConflictReport(error.kind, error.message)
        return ConflictReport("constraint-failure", error.message)
    if isinstance(error, SchemaError):
        return ConflictReport("schema-validation-error", error.message)
    return ConflictReport("constraint-failure", error.message)
