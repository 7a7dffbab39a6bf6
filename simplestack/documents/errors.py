"""What is wrong with a document."""

from simplestack.sip.errors import SIPError


class DocumentError(SIPError):
    """A body that is not the document it claims to be.

    As a :class:`SIPError` it carries its answer: 400 with the message as its
    text. ``line`` and ``column`` count from one; ``None`` where there is no
    one place to point at.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        if not message.isprintable():
            # The message quotes the document and ends up in a header field.
            message = "".join([c if c.isprintable() else " " for c in message])
        super().__init__(400, text=message)
        self.message = message
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return self.message


class XMLError(DocumentError):
    """Bytes that the one XML parser does not take.

    ``kind`` is one of ``not-well-formed``, ``not-utf-8``, ``dtd``,
    ``too-large``, ``too-deep`` and ``too-many-nodes``; RFC 4825 §11 and the
    HTTP status are chosen by it.
    """

    def __init__(
        self, kind: str, message: str, line: int | None = None, column: int | None = None
    ) -> None:
        super().__init__(message, line, column)
        self.kind = kind


class SchemaError(DocumentError):
    """A well-formed document that its schema refuses."""
