"""RLS services: ``rls-services`` (RFC 4826 §4.4)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from simplestack.documents import namespaces as ns
from simplestack.documents.markup import DECLARATION, attribute
from simplestack.documents.resourcelists import (
    SERVICES_MEDIA_TYPE,
    address_of,
    check_rls_services,
)
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_fragment
from simplestack.state import Document
from simplestack.xcap.errors import ConflictError
from simplestack.xcap.markup import unescape
from simplestack.xcap.message import ATTRIBUTE
from simplestack.xcap.source import scan
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["RLSServices"]

_SERVICE = f"{{{ns.RLS_SERVICES}}}service"
_RESOURCE_LIST = f"{{{ns.RLS_SERVICES}}}resource-list"


class RLSServices(ApplicationUsage):
    """Services of a resource list server; the global index is the union of all users' (§4.4.8)."""

    auid = "rls-services"
    default_namespace = ns.RLS_SERVICES
    content_type = SERVICES_MEDIA_TYPE
    namespaces = (ns.RLS_SERVICES, ns.RESOURCE_LISTS)
    schema = Schema("all-lists")
    root = f"{{{ns.RLS_SERVICES}}}rls-services"
    gathers = "index"
    unique = True

    def authorize(self, owner: str, identity: str, method: str) -> bool:
        """Owners; the global index is for trusted elements of the domain alone (§4.4.9)."""
        return owner == identity

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """The constraints of RFC 4826 §4.4.5."""
        owner = document.aor if document.aor.startswith("sip:") else None
        report = check_rls_services(root, owner)
        if report is not None:
            raise ConflictError(report)

    def claims(self, root: Any) -> Mapping[str, str]:
        """The service URIs: unique "in any document on a particular server" (§4.4.5)."""
        return {
            address_of(service.get("uri", "")): quote(
                f"rls-services/service[{number}]/@uri", safe="/@:"
            )
            for number, service in enumerate(root.iterchildren(_SERVICE), 1)
        }

    def references(self, root: Any) -> Mapping[str, str]:
        """The lists that the services are: "Its XCAP root MUST be the same" (§4.1)."""
        return {(each.text or "").strip(): "resource-lists" for each in root.iter(_RESOURCE_LIST)}

    def addresses(self, body: bytes, content_type: str) -> tuple[str, ...]:
        """The service URIs in a body, which "MUST NOT" be those of other resources (§4.4.5)."""
        if content_type == ATTRIBUTE:
            return (address_of(unescape(body.strip()[1:-1].decode("utf-8", "replace"))),)
        # An element may use prefixes of its document.
        root = parse_fragment(body.strip())
        if root is None:
            return ()
        return tuple(
            [
                address_of(each.get("uri", ""))
                for each in root.iter("*")
                if str(each.tag).rpartition("}")[2].rpartition(":")[2] == "service"
            ]
        )

    def gathered(self, documents: tuple[Document, ...]) -> bytes:
        """The union: each service as its user wrote it, with the namespaces that it needs."""
        services = []
        for document in documents:
            root = scan(document.body)
            for service in root.children:
                head = b"<" + service.name
                for prefix, namespace in root.declared.items():
                    if prefix not in service.declared:
                        name = f"xmlns:{prefix}" if prefix else "xmlns"
                        head += f' {name}="{attribute(namespace)}"'.encode()
                services.append(b" " + head + service.octets[1 + len(service.name) :] + b"\n")
        return (
            f'{DECLARATION}<rls-services xmlns="{ns.RLS_SERVICES}">\n'.encode()
            + b"".join(services)
            + b"</rls-services>\n"
        )
