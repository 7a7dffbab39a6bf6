"""The conditions of common policy (RFC 4745): who, in which sphere, and when.

The conditions of a rule are combined by AND (no conditions are TRUE, erratum
5208), the members of an identity by OR.
"""

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import attribute
from simplestack.documents.timestamps import format_timestamp, parse_datetime
from simplestack.documents.xml import given, line_of, local_name
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import parse_uri

_NS: Final = f"{{{ns.COMMON_POLICY}}}"


def identity_key(uri: str) -> str:
    """Give what two URIs have in common exactly if they are one identity.

    The host without case, the user part with it, no port and no parameters;
    "URIs of different schemes are never equivalent" (RFC 5025 §3.1.1.2).
    """
    # URIs are written by users: long ones must not fill the cache.
    return _short_identity_key(uri) if len(uri) < 200 else _identity_key(uri)


def _identity_key(uri: str) -> str:
    try:
        parsed = parse_uri(uri)
    except SIPError:
        return uri
    if parsed.scheme in ("sip", "sips"):
        return f"{parsed.scheme}:{parsed.aor.partition(':')[2]}"
    return parsed.aor if parsed.scheme == "tel" else str(parsed)


_short_identity_key: Final = lru_cache(maxsize=8192)(_identity_key)


def domain_key(domain: str) -> str | None:
    """Give what two domains have in common exactly if they are equal (RFC 4745 §7.1.3).

    None means that the conversion failed: such a domain equals none.
    """
    if "%" in domain:
        domain = unquote(domain)
    domain = domain.strip().lower()
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None


def domain_of(uri: str) -> str | None:
    """Give the domain of an identity in the form of :func:`domain_key`, None without one."""
    try:
        parsed = parse_uri(uri)
    except SIPError:
        return None
    if parsed.scheme in ("sip", "sips"):
        return domain_key(parsed.host)
    _, found, domain = str(parsed).rpartition("@")
    return domain_key(domain.partition("?")[0]) if found else None


class One(NamedTuple):
    """Exactly one authenticated identity (RFC 4745 §7.1.2)."""

    id: str

    @property
    def key(self) -> str:
        """The identity in the form of :func:`identity_key`."""
        return identity_key(self.id)


class Many(NamedTuple):
    """Every authenticated identity, or those of one domain, but for exceptions (§7.1.3)."""

    domain: str | None = None
    except_domains: tuple[str, ...] = ()
    except_ids: tuple[str, ...] = ()

    def admits(self, uri: str) -> bool:
        """Tell whether an authenticated identity belongs here.

        A domain matches whole: example.com admits nobody of example.co. The
        exceptions are combined by OR.
        """
        own = domain_of(uri)
        if self.domain is not None and (own is None or own != domain_key(self.domain)):
            return False
        if own is not None:
            for each in self.except_domains:
                if own == domain_key(each):
                    return False
        if self.except_ids:
            key = identity_key(uri)
            for each in self.except_ids:
                if key == identity_key(each):
                    return False
        return True


class OtherIdentity(NamedTuple):
    """An identity of an unknown namespace, or with unknown restrictions: always FALSE (§7.1.1)."""

    element: Element


class Identity(NamedTuple):
    """TRUE if any of its members is (RFC 4745 §7.1).

    Only authenticated identities match members. One without members is what
    an unauthenticated request may match beside rules that have no identity
    condition at all (RFC 5025 §3.1.1.2).
    """

    members: tuple[One | Many | OtherIdentity, ...] = ()


class Sphere(NamedTuple):
    """TRUE if the sphere of the presentity is one of the tokens, in any case (§7.3)."""

    value: str

    @property
    def tokens(self) -> frozenset[str]:
        """The tokens in lower case."""
        return frozenset(self.value.lower().split())


class Validity(NamedTuple):
    """TRUE from a ``from`` (included) to the ``until`` after it (excluded) (§7.4); unix seconds."""

    periods: tuple[tuple[float, float], ...]

    def holds(self, now: float) -> bool:
        """Tell whether ``now`` lies in one of the periods."""
        return any(start <= now < end for start, end in self.periods)


class OtherCondition(NamedTuple):
    """A condition that is not known: always FALSE (RFC 4745 §7)."""

    element: Element


Condition = Identity | Sphere | Validity | OtherCondition


def read_conditions(node: etree._Element) -> tuple[Condition, ...]:
    """Read the children of ``<conditions>``.

    :raises DocumentError: if a condition of RFC 4745 is not as its schema says.
    """
    return tuple(_read_condition(child) for child in node)


def write_conditions(conditions: tuple[Condition, ...]) -> str:
    """Write the children of ``<conditions>``, with common policy as default namespace."""
    return "".join([_write_condition(each) for each in conditions])


def _read_condition(node: etree._Element) -> Condition:
    if node.tag == _NS + "identity":
        return Identity(tuple(_read_member(child) for child in node))
    if node.tag == _NS + "sphere":
        return Sphere(given(node, "value"))
    if node.tag == _NS + "validity":
        return _read_validity(node)
    return OtherCondition(read(node))


def _read_member(node: etree._Element) -> One | Many | OtherIdentity:
    if node.tag == _NS + "one" and not len(node):
        return One(given(node, "id"))
    if node.tag == _NS + "many" and all(child.tag == _NS + "except" for child in node):
        exceptions = list(node)
        domain = node.get("domain")
        return Many(
            None if domain is None else domain.strip(),
            tuple(each.get("domain", "") for each in exceptions if each.get("domain")),
            tuple(each.get("id", "").strip() for each in exceptions if each.get("id")),
        )
    return OtherIdentity(read(node))


def _read_validity(node: etree._Element) -> Validity:
    children = list(node)
    names = [local_name(child) for child in children]
    if not children or names != ["from", "until"] * (len(children) // 2):
        line = line_of(node)
        raise DocumentError(f"<validity> in line {line} is not pairs of <from> and <until>", line)
    moments = [parse_datetime(child.text or "") for child in children]
    return Validity(tuple(zip(moments[::2], moments[1::2], strict=True)))


def _write_condition(condition: Condition) -> str:
    if isinstance(condition, Identity):
        members = "".join([_write_member(member) for member in condition.members])
        return f"<identity>{members}</identity>"
    if isinstance(condition, Sphere):
        return f'<sphere value="{attribute(condition.value)}"/>'
    if isinstance(condition, Validity):
        periods = "".join(
            [
                f"<from>{_moment(start)}</from><until>{_moment(end)}</until>"
                for start, end in condition.periods
            ]
        )
        return f"<validity>{periods}</validity>"
    return condition.element.xml


def _moment(seconds: float) -> str:
    return format_timestamp(seconds, 0 if seconds == int(seconds) else 3)


def _write_member(member: One | Many | OtherIdentity) -> str:
    if isinstance(member, One):
        return f'<one id="{attribute(member.id)}"/>'
    if isinstance(member, OtherIdentity):
        return member.element.xml
    start = "<many" if member.domain is None else f'<many domain="{attribute(member.domain)}"'
    inner = "".join([f'<except domain="{attribute(d)}"/>' for d in member.except_domains])
    inner += "".join([f'<except id="{attribute(i)}"/>' for i in member.except_ids])
    return f"{start}>{inner}</many>" if inner else f"{start}/>"
