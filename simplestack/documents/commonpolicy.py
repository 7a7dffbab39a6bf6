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
#: What DNS has room for (RFC 1035 §2.3.4): a conversion of more would fail, after a long time.
_LONGEST_DOMAIN: Final = 255


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
    if len(domain) > _LONGEST_DOMAIN:
        return None
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


class Many:
    """Every authenticated identity, or those of one domain, but for exceptions (§7.1.3).

    A value that is not changed.  In what form its domains and identities are compared is found out
    once, for a user may name thousands of them and have as many watchers.
    """

    __slots__ = ("_domains", "_ids", "_own", "domain", "except_domains", "except_ids")

    def __init__(
        self,
        domain: str | None = None,
        except_domains: tuple[str, ...] = (),
        except_ids: tuple[str, ...] = (),
    ) -> None:
        self.domain = domain
        self.except_domains = except_domains
        self.except_ids = except_ids
        self._own: str | None = None
        self._domains: frozenset[str | None] | None = None
        self._ids: frozenset[str] = frozenset()

    def admits(self, uri: str) -> bool:
        """Tell whether an authenticated identity belongs here.

        A domain matches whole: example.com admits nobody of example.co. The
        exceptions are combined by OR.
        """
        return self.holds(domain_of(uri), identity_key(uri))

    def holds(self, domain: str | None, key: str) -> bool:
        """The same of an identity given as ``domain_of`` and ``identity_key``."""
        excepted = self._domains
        if excepted is None:
            self._own = None if self.domain is None else domain_key(self.domain)
            self._ids = frozenset([_identity_key(each) for each in self.except_ids])
            excepted = self._domains = frozenset([domain_key(each) for each in self.except_domains])
        if self.domain is not None and (domain is None or domain != self._own):
            return False
        return (domain is None or domain not in excepted) and key not in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Many) and (
            (self.domain, self.except_domains, self.except_ids)
            == (other.domain, other.except_domains, other.except_ids)
        )

    def __hash__(self) -> int:
        return hash((self.domain, self.except_domains, self.except_ids))

    def __repr__(self) -> str:
        return f"Many({self.domain!r}, {self.except_domains!r}, {self.except_ids!r})"


class OtherIdentity(NamedTuple):
    """An identity of an unknown namespace, or with unknown restrictions: always FALSE (§7.1.1)."""

    element: Element


class Identity:
    """TRUE if any of its members is (RFC 4745 §7.1).

    Only authenticated identities match members. One without members is what
    an unauthenticated request may match beside rules that have no identity
    condition at all (RFC 5025 §3.1.1.2).  A value that is not changed.
    """

    __slots__ = ("_groups", "_ones", "members")

    def __init__(self, members: tuple[One | Many | OtherIdentity, ...] = ()) -> None:
        self.members = members
        self._ones: frozenset[str] | None = None
        self._groups: tuple[Many, ...] = ()

    def admits(self, uri: str) -> bool:
        """Tell whether an authenticated identity is one of the members."""
        ones = self._ones
        if ones is None:
            members = self.members
            self._groups = tuple([each for each in members if isinstance(each, Many)])
            ones = self._ones = frozenset(
                [_identity_key(each.id) for each in members if isinstance(each, One)]
            )
        key = identity_key(uri)
        if key in ones:
            return True
        if not self._groups:
            return False
        domain = domain_of(uri)
        return any(each.holds(domain, key) for each in self._groups)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.members == other.members

    def __hash__(self) -> int:
        return hash(self.members)

    def __repr__(self) -> str:
        return f"Identity({self.members!r})"


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
