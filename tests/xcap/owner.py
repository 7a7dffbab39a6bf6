"""A user with documents, whose requests an XCAP server decides without HTTP or a store."""

from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from simplestack.documents.xcaperror import ConflictReport
from simplestack.interfaces import IApplicationUsage
from simplestack.sip.errors import SIPError
from simplestack.state import Document, ResourceState
from simplestack.xcap.errors import ConflictError
from simplestack.xcap.message import XCAPRequest
from simplestack.xcap.selectors import parse
from simplestack.xcap.server import Limits, XCAPServer
from simplestack.xcap.usage import ApplicationUsage
from simplestack.xcap.usages.directory import XCAPDirectory
from simplestack.xcap.usages.pidfmanipulation import PIDFManipulation
from simplestack.xcap.usages.presrules import OMAPresRules, PresRules
from simplestack.xcap.usages.resourcelists import ResourceLists
from simplestack.xcap.usages.rlsservices import RLSServices

DATA = Path(__file__).parent.parent / "data" / "xcap"

ELEMENT = "application/xcap-el+xml"
ATTRIBUTE = "application/xcap-att+xml"
LISTS = "application/resource-lists+xml"


class AnyXML(ApplicationUsage):
    """A usage of any documents, such as the examples of the RFCs have."""

    auid = "tests"
    content_type = "application/xml"
    namespaces = ("urn:test:default-namespace",)

    def __init__(self, default_namespace: str = "") -> None:
        self.default_namespace = default_namespace


def shipped() -> list[IApplicationUsage]:
    """All usages that are shipped."""
    usages: list[Any] = [
        ResourceLists(),
        RLSServices(),
        PresRules(),
        PIDFManipulation(),
        OMAPresRules(),
        XCAPDirectory(),
    ]
    return usages


class Answer(NamedTuple):
    """What the server decided."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: Of a 409.
    report: ConflictReport | None = None
    #: What is wrong, for a person.
    text: str = ""

    @property
    def condition(self) -> str:
        """The condition of the conflict report."""
        return "" if self.report is None else self.report.condition


class Identifiers:
    """Identifiers that count."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def entity_tag(self) -> str:
        """An entity-tag."""
        return f"tag{next(self._numbers)}"

    tag = branch = call_id = record_id = entity_tag


class Owner:
    """Asks for resources in one home directory; what is decided is applied at once."""

    def __init__(
        self,
        *usages: IApplicationUsage,
        aor: str = "sip:bill@example.com",
        limits: Limits | None = None,
        admins: Iterable[str] = (),
    ) -> None:
        every = usages or (*shipped(), AnyXML())
        self.server = XCAPServer(
            every, limits, admins=tuple(admins), root="http://xcap.example.com"
        )
        self.state = ResourceState(aor)
        self.now = 1_700_000_000.0
        self.identifiers = Identifiers()

    def __call__(
        self,
        method: str,
        uri: str | bytes,
        body: bytes = b"",
        content_type: str = "",
        *,
        identity: str | None = None,
        gathered: tuple[Document, ...] = (),
        **headers: str,
    ) -> Answer:
        """Send a request."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type:
            fields["content-type"] = content_type
        octets = uri.encode() if isinstance(uri, str) else uri
        try:
            selector = parse(octets)
            request = XCAPRequest(
                method,
                selector,
                fields,
                body,
                self.state.aor if identity is None else identity,
                gathered,
            )
            outcome = self.server.decide(request, self.state, self.now, self.identifiers)
        except ConflictError as error:
            return Answer(409, {}, error.report.to_bytes(), error.report, error.text)
        except SIPError as error:
            return Answer(error.status, dict(error.headers), b"", None, error.text)
        self.state.apply(outcome.changes)
        response = outcome.response
        return Answer(response.status, dict(response.headers), response.body)

    def get(self, uri: str | bytes, **more: Any) -> Answer:
        """GET."""
        return self("GET", uri, **more)

    def put(
        self, uri: str | bytes, body: bytes, content_type: str = ELEMENT, **more: Any
    ) -> Answer:
        """PUT, of an element unless said otherwise."""
        return self("PUT", uri, body, content_type, **more)

    def delete(self, uri: str | bytes, **more: Any) -> Answer:
        """DELETE."""
        return self("DELETE", uri, **more)

    def has(self, uri: str, body: bytes, content_type: str = "application/xml") -> None:
        """Put a document that must be taken."""
        answer = self.put(uri, body, content_type)
        if answer.status not in (200, 201):
            raise AssertionError(f"the document is not taken: {answer}")


def read_http(name: str) -> tuple[str, str, dict[str, str], bytes]:
    """A request among the RFC's examples: method, path, header fields, body."""
    text = (DATA / name).read_bytes().replace(b"\r\n", b"\n")
    head, _, body = text.partition(b"\n\n")
    lines = head.decode().split("\n")
    method, path, _ = lines[0].split(" ")
    fields = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return method, path, fields, body.strip(b"\n") if b"<" in body else body
