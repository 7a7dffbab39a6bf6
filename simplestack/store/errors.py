"""What a store may fail with."""

__all__ = ["StoreError", "Unavailable", "Unreadable", "Unstorable"]


class StoreError(Exception):
    """The store can't do what it is asked to.

    Its text is one line for the operator: what is wrong and what to do about it.
    """


class Unavailable(StoreError):  # noqa: N818  # a state, which retrying may find over
    """The store can't commit or load just now: 503 with Retry-After (RFC 3261 §21.5.4)."""

    def __init__(self, retry_after: int, text: str = "the store is not available") -> None:
        super().__init__(text)
        #: Seconds after which trying again is worth it.
        self.retry_after = retry_after


class Unreadable(Unavailable):
    """A record in the database is none: nobody who has it can be served until it is mended."""


class Unstorable(StoreError):  # noqa: N818  # says what the record is
    """A record that no database takes: its key is too long or a value is out of range.

    Trying again does not help; other commits are not concerned.
    """
