"""What application usages have in common (RFC 4825 §5)."""

from collections.abc import Mapping
from typing import Any

from zope.interface import implementer

from simplestack.documents.schema import Schema
from simplestack.interfaces import IApplicationUsage
from simplestack.state import Document
from simplestack.xcap.errors import ConflictError

__all__ = ["ApplicationUsage"]


@implementer(IApplicationUsage)
class ApplicationUsage:
    """A usage with the default policies of RFC 4825; subclasses say what differs."""

    auid: str
    default_namespace: str
    content_type: str
    #: What xcap-caps lists; "" there is the default namespace alone.
    namespaces: tuple[str, ...] = ()
    #: The expanded name that the root element must have, ``{namespace}local``; "" for any.
    root: str = ""
    #: The schema of the documents; None where ``constrain`` sees to it all.
    schema: Schema | None = None
    #: The only name that documents may have; "" for any.
    only: str = ""
    #: Whether ``claims`` says anything.
    unique: bool = False
    #: The name of the document in the global tree that is made of all users' of that name.
    gathers: str = ""

    def authorize(self, owner: str, identity: str, method: str) -> bool:
        """The default policy of RFC 4825 §5.7.

        A user reads and writes all below his home directory; any user reads global documents.
        """
        if owner:
            return owner == identity
        return method in ("GET", "HEAD")

    def check(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """Check the name, the root, the schema, and what ``constrain`` says more."""
        if self.only and document.path != self.only:
            raise ConflictError.of(
                "constraint-failure", f"the one document of {self.auid} is named {self.only}"
            )
        if self.root and root.tag != self.root:
            raise ConflictError.of(
                "schema-validation-error", f"the root element is not {self.root}"
            )
        if self.schema is not None:
            self.schema.validate(root)
            body = document.body
            first = body.find(b"xmlns")
            if body.startswith(b"xmlns:", first) or body.find(b"xmlns", first + 1) >= 0:
                # With a default namespace alone nothing is in extension points: those for elements
                # are for other namespaces, and no attribute is in the default one.
                self.schema.check_known(root)
        self.constrain(document, root, documents)

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """Check constraints that the schema can't say; raise ``xcap.errors.ConflictError``."""

    def claims(self, root: Any) -> Mapping[str, str]:
        """Values that no other document on the server may have, each with its node selector."""
        return {}

    def references(self, root: Any) -> Mapping[str, str]:
        """URIs in a document that must have its own XCAP root, each with the AUID that it has."""
        return {}

    def addresses(self, body: bytes, content_type: str) -> tuple[str, ...]:
        """Of the values that ``claims`` would say for what is put, those that may be users'.

        They must be no users'.  The body is a document, an element, or the value of an attribute.
        """
        return ()

    def computed(
        self, owner: str, path: str, documents: Mapping[str, Document], root: str
    ) -> bytes | None:
        """The content of a document that the server computes; None of any other.

        ``root`` is the XCAP root URI, by which links begin.
        """
        return None

    def gathered(self, documents: tuple[Document, ...]) -> bytes:
        """The content of the global document named ``gathers``."""
        raise NotImplementedError
