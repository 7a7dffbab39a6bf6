"""What is wrong with an XCAP request, and the answer that says so."""

from simplestack.documents.errors import DocumentError, XMLError
from simplestack.documents.xcaperror import MEDIA_TYPE, ConflictReport, Exists, report
from simplestack.sip.errors import SIPError

__all__ = ["ConflictError", "cannot_delete", "cannot_insert", "no_parent", "refusal"]

_TOO_MUCH = ("too-large", "too-deep", "too-many-nodes")


class ConflictError(SIPError):
    """A request that conflicts with the state of the resource: 409 with a detailed report.

    RFC 4825 §11.  ``report`` becomes the body of the response.
    """

    media_type = MEDIA_TYPE

    def __init__(self, report: ConflictReport) -> None:
        super().__init__(409, "Conflict", text=report.phrase or report.condition)
        self.report = report

    @classmethod
    def of(cls, condition: str, phrase: str) -> "ConflictError":
        """A conflict of one of the conditions of RFC 4825 §11.1 that needs no more than words."""
        return cls(ConflictReport(condition, phrase))

    @classmethod
    def not_unique(
        cls, phrase: str, field: str, alternatives: tuple[str, ...] = ()
    ) -> "ConflictError":
        """A value that stands already elsewhere.

        ``field`` is the percent-encoded node selector of the value, ``alternatives`` would do.
        """
        return cls(
            ConflictReport("uniqueness-failure", phrase, exists=(Exists(field, alternatives),))
        )


def no_parent(phrase: str, ancestor: str) -> ConflictError:
    """Nothing is there to insert into; ``ancestor`` is the URI of what is there of it."""
    return ConflictError(ConflictReport("no-parent", phrase, ancestor))


def cannot_insert(phrase: str) -> ConflictError:
    """A GET after the PUT would not yield what was put."""
    return ConflictError.of("cannot-insert", phrase)


def cannot_delete(phrase: str) -> ConflictError:
    """The DELETE would not be idempotent."""
    return ConflictError.of("cannot-delete", phrase)


def refusal(error: DocumentError) -> SIPError:
    """The answer to a document that can't be kept: 409, or 413 for too much of something."""
    if isinstance(error, XMLError) and error.kind in _TOO_MUCH:
        return SIPError(413, "Content Too Large", text=error.message)
    return ConflictError(report(error))
