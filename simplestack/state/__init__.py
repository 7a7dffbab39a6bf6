"""The state of one address-of-record (AOR): its records, and the changes made to them."""

from simplestack.state.binding import Binding
from simplestack.state.changes import (
    RECORD_KINDS,
    ChangeSet,
    Kind,
    Record,
    Removed,
    fields_of,
    later_fields_of,
    row_of,
)
from simplestack.state.document import Absence, Document
from simplestack.state.publication import Publication
from simplestack.state.resource import ResourceState
from simplestack.state.subscription import Subscription

__all__ = [
    "RECORD_KINDS",
    "Absence",
    "Binding",
    "ChangeSet",
    "Document",
    "Kind",
    "Publication",
    "Record",
    "Removed",
    "ResourceState",
    "Subscription",
    "fields_of",
    "later_fields_of",
    "row_of",
]
