"""Which AOR a SIP request is about, and the Contact by which we are reached about it."""

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.sip.uri import Uri, parse_uri
from simplestack.transaction.flow import Flow

__all__ = ["Placing"]

#: The URI parameter of our Contacts that says which domain the user part belongs to.
DOMAIN: Final = "domain"


class Placing:
    """Finds the AOR of requests among the domains that are served."""

    def __init__(self, domains: Collection[str]) -> None:
        self.domains = frozenset(domains)

    def place(self, request: Request) -> str:
        """The AOR that a request is about.

        REGISTER names it in To (RFC 3261 §10.3 step 5), everything else in the Request-URI.
        Requests in a dialog have our Contact there (§12.2.1.1), which carries the domain.

        Raises SIPError 404 where the domain is not served here, 400 where To of a REGISTER can't
        be an AOR.
        """
        uri = request.request_uri
        if request.method == "REGISTER":
            # "The Request-URI names the domain of the location service" (§10.2).
            if uri.host not in self.domains:
                raise SIPError(404, text=f"the domain {uri.host} is not served here")
            uri = request.to.uri
            if not uri.is_sip:
                # "The address-of-record MUST be a SIP URI or SIPS URI." (§10.2)
                raise SIPError(400, text=f"To is {uri}, and an AOR is a SIP or SIPS URI")
        elif request.to.tag or uri.host not in self.domains:
            # Our Contact may well be at a host that is the name of another domain.
            domain = uri.param(DOMAIN)
            if domain is not None:
                uri = uri.replace(host=domain.lower())
            elif uri.host not in self.domains and request.to.tag:
                uri = request.to.uri
        if uri.host not in self.domains:
            raise SIPError(404, text=f"the domain {uri.host} is not served here")
        if not uri.user:
            raise SIPError(404, text="the URI names no user")
        return uri.aor

    def check_host(self, request: Request, flow: Flow) -> None:
        """See that a request that needs no AOR, an OPTIONS, is for us (RFC 3261 §8.2.2.1).

        A served domain names us, and so does an address, for whoever asks by it has found us
        there.  So does the name that our Contacts have.

        Raises SIPError 404.
        """
        uri = request.request_uri
        host = uri.host
        if host in self.domains or host == flow.local[0] or uri.param(DOMAIN) in self.domains:
            return
        try:
            ip_address(host.strip("[]"))
        except ValueError:
            raise SIPError(404, text=f"the domain {host} is not served here") from None

    def check_credentials(self, given: str, request: Request, flow: Flow) -> None:
        """See that the ``uri`` of credentials is of a user or a domain of ours (RFC 8760 §2.6).

        "a UAS MUST check if the Request-URI in the Authorization/Proxy-Authorization header field
        value corresponds to a user for whom the UAS is willing to accept forwarded or direct
        requests": else a stranger to whom a user of ours sends a request may challenge him with a
        nonce of ours, and send us what he gets.

        Raises SIPError 400.
        """
        uri = request.request_uri if given == request.uri else parse_uri(given)
        if uri.host in self.domains or uri.host == flow.local[0]:
            return
        # Our Contact may have any name.  Which dialogs there are no stranger knows.
        if request.method != "SUBSCRIBE" or request.to.tag is None:
            raise SIPError(400, text="the uri of the credentials is of another server")

    def contact(self, request: Request, aor: str, flow: Flow) -> str:
        """The Contact URI for a dialog about this AOR over this flow.

        A SIPS URI where RFC 3261 §12.1.1 asks for one: "a SIPS URI in the Request-URI or in the top
        Record-Route header field value, if there was any, or the Contact header field if there was
        no Record-Route header field".
        """
        nearest = request.record_routes if "Record-Route" in request.headers else request.contacts
        secure = request.uri[:5].lower() == "sips:" or (
            bool(nearest) and nearest[0].uri.scheme == "sips"
        )
        user, _, domain = aor[aor.find(":") + 1 :].rpartition("@")
        scheme, transport = ("sips", "") if secure else ("sip", f";transport={flow.transport}")
        if flow.transport == "udp":
            transport = ""
        return f"{scheme}:{user}@{flow.sent_by}{transport};{DOMAIN}={domain}"


def domain_of(aor: str) -> str:
    """The domain of an AOR."""
    return aor.rpartition("@")[2]


def behind_nat(via_host: str, source_host: str, contact: Uri | None) -> bool:
    """Whether requests to this client must go back by the flow that it opened.

    So where the packets come from another address than the client believes to have and its
    Contact names the address that it believes in, or where it asks for it (RFC 5626 §5).
    """
    if contact is None:
        return False
    if contact.params and contact.has_param("ob"):
        return True
    return via_host != source_host and contact.host == via_host
