"""The checks of a user agent server, in the order of RFC 3261 §8.2, and the answer to OPTIONS.

Each check is a function that raises the SIPError to answer with.  ``inspect`` makes them all, in
the order that the section asks for; authentication comes before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from simplestack.sip.errors import SIPError
from simplestack.sip.message import METHODS, Request, Response

__all__ = [
    "Capabilities",
    "check_content",
    "check_domain",
    "check_max_forwards",
    "check_merged",
    "check_method",
    "check_require",
    "check_scheme",
    "inspect",
    "options",
]


class Capabilities(NamedTuple):
    """What a user agent server can do, as it says in responses."""

    #: Methods in the order of Allow.
    methods: tuple[str, ...]
    #: Domains that it answers for, in lower case.
    domains: Collection[str]
    #: Media types of request bodies by method; other methods take none.
    content_types: dict[str, tuple[str, ...]]
    #: Option tags of extensions.
    extensions: tuple[str, ...] = ()
    #: Event packages, where there are any.
    events: tuple[str, ...] = ()
    #: Codings of request bodies, besides none at all.
    encodings: tuple[str, ...] = ()
    #: URI schemes that requests may be addressed by.
    schemes: tuple[str, ...] = ("sip", "sips")
    #: Value of Server; "" leaves it out.
    server: str = ""

    @property
    def allow(self) -> str:
        """The value of Allow."""
        return ", ".join(self.methods)

    @property
    def accept(self) -> str:
        """The value of Accept for all methods together."""
        every = {each: None for types in self.content_types.values() for each in types}
        return ", ".join(every)


def inspect(request: Request, capabilities: Capabilities, *, merged: bool = False) -> None:
    """Make all checks of §8.2 in their order; ``merged`` is what the layer says of the request.

    The Request-URI of a request in a dialog is our Contact, which may name an address instead of a
    domain: then it is the owner of the dialog who refuses it.
    """
    check_method(request, capabilities.methods)
    check_scheme(request, capabilities.schemes)
    if not _in_dialog(request):
        check_domain(request, capabilities.domains)
    check_merged(merged)
    check_require(request, capabilities.extensions)
    types = capabilities.content_types.get(request.method, ())
    check_content(request, types, capabilities.encodings)


def _in_dialog(request: Request) -> bool:
    return request.to.tag is not None


def check_method(request: Request, methods: Collection[str]) -> None:
    """§8.2.1: "If the UAS recognizes but does not support the method of a request, it MUST generate
    a 405 (Method Not Allowed) response ... MUST also add an Allow header field".

    A method that nobody has registered is not recognized: 501 (§21.5.2).
    """
    if request.method not in methods:
        status = 405 if request.method in METHODS else 501
        headers = (("Allow", ", ".join(methods)),)
        raise SIPError(status, headers=headers, text=f"{request.method[:32]} is not served here")


def check_scheme(request: Request, schemes: Collection[str] = ("sip", "sips")) -> None:
    """§8.2.2.1: "If the Request-URI uses a scheme not supported by the UAS, it SHOULD reject the
    request with a 416 (Unsupported URI Scheme) response."

    The scheme of To does not matter: "it is RECOMMENDED that a UAS accept requests even if they do
    not recognize the URI scheme ... in the To header field".
    """
    scheme = request.request_uri.scheme
    if scheme not in schemes:
        raise SIPError(416, text=f"the scheme {scheme[:32]} is not served here")


def check_domain(request: Request, domains: Collection[str]) -> None:
    """§8.2.2.1: "If the Request-URI does not identify an address that the UAS is willing to accept
    requests for, it SHOULD reject the request with a 404 (Not Found) response."
    """
    host = request.request_uri.host
    if host not in domains:
        raise SIPError(404, text=f"{host[:80]} is not served here")


def check_merged(merged: bool) -> None:
    """§8.2.2.2: a request that has come by another path as well gets 482 (Loop Detected)."""
    if merged:
        raise SIPError(482, text="the same request has come by another path")


def check_max_forwards(request: Request) -> int | None:
    """The Max-Forwards for the next hop; for elements that pass requests on, not for a UAS (§16.3).

    "If the request contains a Max-Forwards header field with a field value of zero (0), the element
    MUST NOT forward the request. ... Otherwise, the element MUST return a 483 (Too many hops)".
    """
    hops = request.max_forwards
    if hops is None:
        return None
    if hops <= 0:
        raise SIPError(483)
    return hops - 1


def check_require(request: Request, extensions: Collection[str]) -> None:
    """§8.2.2.3: "If a UAS does not understand an option-tag listed in a Require header field, it
    MUST respond by generating a response with status code 420 (Bad Extension).  The UAS MUST add an
    Unsupported header field, and list in it those options it does not understand".

    "Note that Require and Proxy-Require MUST NOT be used in a SIP CANCEL request, or in an ACK
    request ... These header fields MUST be ignored if they are present in these requests."
    """
    if "Require" not in request.headers or request.method in ("ACK", "CANCEL"):
        return
    unknown = [tag for tag in request.get_all("Require") if tag.lower() not in extensions]
    if unknown:
        headers = (("Unsupported", ", ".join(dict.fromkeys(unknown))),)
        raise SIPError(420, headers=headers)


def check_content(
    request: Request, content_types: Collection[str], encodings: Iterable[str] = ()
) -> bool:
    """§8.2.3: whether the body is to be used; raises 415 where it can't be and must not be ignored.

    "If there are any bodies whose type (indicated by the Content-Type), language (indicated by the
    Content-Language) or encoding (indicated by the Content-Encoding) are not understood, and that
    body part is not optional (as indicated by the Content-Disposition header field), the UAS MUST
    reject the request with a 415 (Unsupported Media Type) response."
    """
    if not request.body:
        return False
    encodings = tuple(encodings)
    unknown = [
        coding
        for coding in request.content_encoding
        if coding != "identity" and coding not in encodings
    ]
    if unknown:
        accepted = ", ".join((*encodings, "identity"))
        error = SIPError(
            415, headers=(("Accept-Encoding", accepted),), text=f"no coding {unknown[0][:32]} here"
        )
    else:
        media_type = request.content_type
        if media_type is not None and media_type.type in content_types:
            return True
        what = (
            "Content-Type is missing" if media_type is None else f"no {media_type.type[:64]} here"
        )
        error = SIPError(415, headers=(("Accept", ", ".join(content_types)),), text=what)
    disposition = request.content_disposition
    if disposition is not None and not disposition.required:
        return False
    raise error


def options(request: Request, capabilities: Capabilities, to_tag: str) -> Response:
    """The 200 to OPTIONS (§11.2).

    "Allow, Accept, Accept-Encoding, Accept-Language, and Supported header fields SHOULD be present
    in a 200 (OK) response to an OPTIONS request"; Allow-Events where there are packages (RFC 6665
    §8.2.2).  Accept-Language, absent, says that all languages are fine (§20.3).
    """
    response = request.response(200, to_tag=to_tag)
    headers = response.headers
    headers["Allow"] = [capabilities.allow]
    headers["Accept"] = [capabilities.accept]
    headers["Accept-Encoding"] = [", ".join((*capabilities.encodings, "identity"))]
    headers["Supported"] = [", ".join(capabilities.extensions)]
    if capabilities.events:
        headers["Allow-Events"] = [", ".join(capabilities.events)]
    if capabilities.server:
        headers["Server"] = [capabilities.server]
    return response
