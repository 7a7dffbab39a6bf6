"""The global tree as it is committed, for those who watch it from AORs of their own."""

from collections.abc import Iterable

from simplestack.state import Absence, ChangeSet, Document, Record, ResourceState
from simplestack.xcap.selectors import GLOBAL, DocumentSelector
from simplestack.xcap.server import XCAPServer

__all__ = ["GlobalTree"]


class GlobalTree:
    """The stored documents of the global tree, those made of all users', and who watches.

    They hang on another AOR than the subscriptions that see them.  Hence what is committed is
    copied here, and a change is told in turns of those AORs that ``watchers`` names.
    """

    def __init__(self) -> None:
        self.state = ResourceState(GLOBAL)
        #: Whether ``state`` is what the store has.
        self.loaded = False
        #: How often something was committed.
        self.commits = 0
        #: By id, the documents that are made of all users'.
        self.made: dict[str, Document] = {}
        #: The AORs with subscriptions that see it, each with the ids in ``made`` that they see.
        self.watchers: dict[str, set[str]] = {}

    def load(self, records: Iterable[Record]) -> None:
        """This is what the store has."""
        self.state = ResourceState(GLOBAL, records)
        self.loaded = True

    def apply(self, changes: ChangeSet) -> None:
        """This was committed."""
        self.state.apply(changes)
        self.commits += 1

    def watch(self, aor: str, made: Iterable[str]) -> None:
        """Somebody with a subscription to this AOR sees the tree, and these of ``made``."""
        self.watchers.setdefault(aor, set()).update(made)

    def is_wanted(self, id_: str) -> bool:
        """Whether anybody sees a document that is made of all users'."""
        return any(id_ in made for made in self.watchers.values())

    def document(self, server: XCAPServer, place: DocumentSelector) -> Document | None:
        """The document at a place of the tree."""
        found = self.state.documents.get(place.id) or self.made.get(place.id)
        return found or server.computed(place, self.state)

    def absence(self, place: DocumentSelector) -> Absence | None:
        """That a document of the tree was removed."""
        return (self.state.absences or {}).get(place.id)
