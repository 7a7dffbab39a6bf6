"""Which URIs name lists, and where they are defined (RFC 4826 §4.4)."""

from collections.abc import Collection, Iterable
from typing import Final

from simplestack.documents.errors import DocumentError
from simplestack.documents.resourcelists import Service, parse_rls_services
from simplestack.state import Document
from simplestack.xcap.flatlist import target_of

__all__ = ["LIST", "RECIPIENTS", "ServiceIndex", "is_list", "services_of"]

#: What the AOR of a list begins with.
LIST: Final = "list:"
#: What the user part of a list begins with that came in a SUBSCRIBE.
RECIPIENTS: Final = "recipient-list."


def is_list(aor: str) -> bool:
    """Whether this is the AOR of a list."""
    return aor.startswith(LIST)


def services_of(document: Document) -> tuple[Service, ...]:
    """The services that a document of them defines; none where it can't be read."""
    try:
        return parse_rls_services(document.body)
    except DocumentError:
        return ()


class ServiceIndex:
    """The services of users' documents by their URIs as AORs; ``operators`` are the operator's."""

    def __init__(self, operators: Collection[str]) -> None:
        self._operators = operators
        #: Each with owner and id of the document that it is in.
        self._services: dict[str, tuple[str, str]] = {}
        #: Whether it is known which services users have.
        self.loaded = False

    def learn(self, documents: Iterable[Document]) -> None:
        """Take in all documents of services that there are, once."""
        if not self.loaded:
            self.loaded = True
            for document in documents:
                self._add(document)

    def change(self, document: Document, removed: bool) -> None:
        """A document of services has been changed, or removed."""
        if not self.loaded:
            return
        place = (document.aor, document.id)
        for aor in [aor for aor, holder in self._services.items() if holder == place]:
            del self._services[aor]
        if not removed:
            self._add(document)

    def _add(self, document: Document) -> None:
        # "If a client elects to define RLS services in a different document, this document will
        # not be "picked up" in the global index, and therefore, will not be used as an RLS
        # service." (RFC 4826 §4.4.7)
        if document.path != "index":
            return
        for service in services_of(document):
            aor = target_of(service.uri)
            if aor is not None:
                self._services.setdefault(aor, (document.aor, document.id))

    def place(self, aor: str) -> tuple[str, str] | None:
        """Owner and id of the document of a user's service."""
        return self._services.get(aor)

    def list_aor(self, aor: str) -> str | None:
        """The AOR of the list that a URI's AOR names; None where it names none."""
        if aor in self._services or aor in self._operators or aor.startswith(RECIPIENTS, 4):
            return LIST + aor[4:]
        return None
