"""The XCAP server as a role of the service (RFC 4825)."""

from collections.abc import Collection, Iterable

from zope.interface import implementer

from simplestack.interfaces import IApplicationUsage, Identifiers, IEventPackage, IRole
from simplestack.outcome import Incoming, Outcome
from simplestack.roles.xcapdiff import XCAPDiffPackage
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, ResourceState
from simplestack.xcap.globaltree import GlobalTree
from simplestack.xcap.server import Limits, XCAPServer

__all__ = ["XCAP"]


@implementer(IRole)
class XCAP:
    """Serves the documents of these application usages over HTTP, and tells of their changes.

    ``admins`` are the AORs that may read and write everybody's documents and the global ones;
    ``root`` is the XCAP root URI as clients see it.  Limits are per document and per user.
    """

    name = "xcap"
    methods: frozenset[str] = frozenset()

    def __init__(
        self,
        usages: Iterable[IApplicationUsage],
        *,
        max_document_size: int = 262_144,
        max_documents: int = 32,
        admins: Collection[str] = (),
        root: str = "",
    ) -> None:
        limits = Limits(octets=max_document_size, documents=max_documents)
        self.server = XCAPServer(usages, limits, admins=admins, root=root)
        self.usages: tuple[IApplicationUsage, ...] = tuple(self.server.usages.values())
        #: What is committed of the global tree; the assembly keeps it so.
        self.tree = GlobalTree()
        self.packages: tuple[IEventPackage, ...] = (XCAPDiffPackage(self.server, self.tree),)

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """No SIP method is of this role."""
        raise SIPError(405)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Forget documents that were removed long ago; none expires."""
        changes = ChangeSet(state.aor)
        if state.absences:
            for absence in state.absences.values():
                if absence.expires_at <= now:
                    changes.remove(absence, "expired")
        return changes
