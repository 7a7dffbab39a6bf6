"""Resource lists and RLS services (RFC 4826): values, and what the schema cannot check."""

from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.xcaperror import ConflictReport, Exists
from simplestack.documents.xml import given, local_name, parse_content, required
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import parse_uri

LISTS_MEDIA_TYPE: Final = "application/resource-lists+xml"
SERVICES_MEDIA_TYPE: Final = "application/rls-services+xml"

_RL: Final = f"{{{ns.RESOURCE_LISTS}}}"
_RLS: Final = f"{{{ns.RLS_SERVICES}}}"
_LANG: Final = f"{{{ns.XML}}}lang"
# The attribute that must be unique among the elements of a name in one parent.
_UNIQUE: Final = {
    _RL + "list": "name",
    _RL + "entry": "uri",
    _RL + "entry-ref": "ref",
    _RL + "external": "anchor",
}


class DisplayName(NamedTuple):
    """A name for people, in one language."""

    text: str
    lang: str | None = None


class Entry(NamedTuple):
    """One resource, by its URI."""

    uri: str
    display_name: DisplayName | None = None


class EntryRef(NamedTuple):
    """An entry elsewhere under the same XCAP root, by a relative path reference."""

    ref: str
    display_name: DisplayName | None = None


class External(NamedTuple):
    """A list elsewhere, by an absolute HTTP URI."""

    anchor: str
    display_name: DisplayName | None = None


class List(NamedTuple):
    """A list and what it consists of, in order."""

    name: str | None = None
    display_name: DisplayName | None = None
    items: tuple["List | Entry | EntryRef | External", ...] = ()

    def uris(self) -> Iterator[str]:
        """Give the URIs of all entries, also of lists within, without those referred to."""
        for item in self.items:
            if isinstance(item, Entry):
                yield item.uri
            elif isinstance(item, List):
                yield from item.uris()


class Service(NamedTuple):
    """An RLS service: a list by value or by URI, and the event packages, None for any (§4.1)."""

    uri: str
    resource_list: str | None = None
    list: List | None = None
    packages: tuple[str, ...] | None = None


def parse_resource_lists(data: bytes) -> tuple[List, ...]:
    """Read a resource-lists document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not a resource-lists document.
    """
    root = parse_content(data)
    if root.tag != _RL + "resource-lists":
        raise DocumentError(f"the root element is not <resource-lists> of {ns.RESOURCE_LISTS}")
    return tuple(_read_list(node) for node in root.iterchildren(_RL + "list"))


def parse_rls_services(data: bytes) -> tuple[Service, ...]:
    """Read an rls-services document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not an rls-services document.
    """
    root = parse_content(data)
    if root.tag != _RLS + "rls-services":
        raise DocumentError(f"the root element is not <rls-services> of {ns.RLS_SERVICES}")
    return tuple(_read_service(node) for node in root.iterchildren(_RLS + "service"))


def parse_item(data: bytes) -> List | Entry | EntryRef | External:
    """Read one element of a list: the only child of the root of this document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if there is no such child.
    """
    for item in _read_list(parse_content(data)).items:
        return item
    raise DocumentError("there is no <list>, <entry>, <entry-ref> or <external>")


def check_resource_lists(root: etree._Element) -> ConflictReport | None:
    """Give the first violation of RFC 4826 §3.4.5 in a document valid by its schema."""
    return _check_lists(root, "resource-lists", "", "")


def check_rls_services(root: etree._Element, owner: str | None) -> ConflictReport | None:
    """Give the first violation of RFC 4826 §4.4.5 in a document valid by its schema.

    ``owner`` is the AOR of the user, None in the global tree. That service URIs
    are unique across documents cannot be seen here.
    """
    seen: set[str] = set()
    for number, service in enumerate(root.iterchildren(_RLS + "service"), 1):
        here = f"rls-services/service[{number}]"
        uri = service.get("uri", "")
        resource = address_of(uri)
        if resource in seen:
            return _not_unique(f"{here}/@uri", "", f'there are two services "{uri}"')
        seen.add(resource)
        reference = service.findtext(_RLS + "resource-list")
        if reference is not None:
            problem = _bad_reference(reference.strip(), owner)
            if problem is not None:
                return ConflictReport("constraint-failure", problem)
        for child in service.iterchildren(_RLS + "list"):
            query = f"?xmlns({quote('rl=' + ns.RESOURCE_LISTS, safe='=:')})"
            found = _check_lists(child, f"{here}/list", "rl:", query)
            if found is not None:
                return found
    return None


def address_of(uri: str) -> str:
    """Give the form in which URIs of the same resource are the same.

    A ``pres`` URI is of the resource that is subscribed to by it, which is a SIP user's.
    """
    text = uri.strip()
    if text[:5].lower() == "pres:":
        text = f"sip:{text[5:]}"
    try:
        parsed = parse_uri(text)
    except SIPError:
        return uri
    return parsed.aor if parsed.is_sip else uri


def _read_list(node: etree._Element) -> List:
    items: list[List | Entry | EntryRef | External] = []
    for child in node:
        tag = child.tag
        if tag == _RL + "entry":
            items.append(Entry(given(child, "uri"), _display_name(child)))
        elif tag == _RL + "list":
            items.append(_read_list(child))
        elif tag == _RL + "entry-ref":
            items.append(EntryRef(required(child, "ref"), _display_name(child)))
        elif tag == _RL + "external":
            items.append(External(required(child, "anchor"), _display_name(child)))
    return List(node.get("name"), _display_name(node), tuple(items))


def _read_service(node: etree._Element) -> Service:
    reference = node.findtext(_RLS + "resource-list")
    own = node.find(_RLS + "list")
    packages = node.find(_RLS + "packages")
    if (reference is None) == (own is None):
        raise DocumentError(f'service "{node.get("uri")}" needs either <resource-list> or <list>')
    return Service(
        given(node, "uri"),
        None if reference is None else reference.strip(),
        None if own is None else _read_list(own),
        None
        if packages is None
        else tuple((each.text or "").strip() for each in packages.iterchildren(_RLS + "package")),
    )


def _display_name(node: etree._Element) -> DisplayName | None:
    child = node.find(_RL + "display-name")
    return None if child is None else DisplayName(child.text or "", child.get(_LANG))


def _check_lists(
    parent: etree._Element, here: str, prefix: str, query: str
) -> ConflictReport | None:
    seen: set[tuple[str, str]] = set()
    counts: dict[str, int] = {}
    for child in parent:
        tag = child.tag
        if tag not in _UNIQUE:
            continue
        name, key = local_name(child), _UNIQUE[tag]
        counts[tag] = counts.get(tag, 0) + 1
        value = child.get(key)
        if value is not None:
            if (tag, value) in seen:
                path = f"{here}/{prefix}{name}[{counts[tag]}]/@{key}"
                phrase = f'{key} "{value}" stands twice among the <{name}> elements of one list'
                return _not_unique(path, query, phrase)
            seen.add((tag, value))
        if name == "list":
            found = _check_lists(child, f"{here}/{prefix}list[{counts[tag]}]", prefix, query)
            if found is not None:
                return found
        elif name != "entry":
            problem = _bad_item(name, value or "")
            if problem is not None:
                return ConflictReport("constraint-failure", problem)
    return None


def _not_unique(path: str, query: str, phrase: str) -> ConflictReport:
    field = quote(path, safe="/@:") + query
    return ConflictReport("uniqueness-failure", phrase, exists=(Exists(field),))


def _bad_item(name: str, value: str) -> str | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        return f'"{value}" is not a URI'
    if name == "entry-ref" and (parts.scheme or parts.netloc or not value or value[0] == "/"):
        return f'ref "{value}" is not a relative path reference'
    if name == "external" and (parts.scheme not in ("http", "https") or not parts.netloc):
        return f'anchor "{value}" is not an absolute HTTP URI'
    return None


def _bad_reference(reference: str, owner: str | None) -> str | None:
    """Say what is wrong with a ``<resource-list>`` by looking at it alone (§4.4.5)."""
    if _bad_item("external", reference) is not None:
        return f'resource-list "{reference}" is not an absolute HTTP URI'
    segments = [unquote(segment) for segment in urlsplit(reference).path.split("/")]
    document = segments.index("~~") if "~~" in segments else len(segments)
    node = segments[document + 1 :]
    if not node or node[-1][:1] in ("", "@") or node[-1] == "namespace::*":
        # "The URI MUST be an absolute HTTP URI representing an XCAP element resource" (§4.1)
        return f'resource-list "{reference}" names no element of a document'
    segments = segments[:document]
    for position, segment in enumerate(segments[:-2]):
        if segment == "resource-lists" and segments[position + 1] == "users":
            if owner is not None and _user(segments[position + 2]) != owner:
                return f'resource-list "{reference}" is not below the home directory of {owner}'
            return None
    return f'resource-list "{reference}" does not point into the resource-lists of a user'


def _user(xui: str) -> str:
    """The AOR of an XCAP User Identifier, which may leave out ``sip:``."""
    return address_of(xui if ":" in xui.partition("@")[0] else f"sip:{xui}")
