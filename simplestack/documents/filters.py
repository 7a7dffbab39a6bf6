"""Watcher filters: ``application/simple-filter+xml`` (RFC 4661), and their keeping (RFC 4660)."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple, cast

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.presrules import domain_key, identity_key
from simplestack.documents.xml import Limits, line_of, local_name, parse_content, required

MEDIA_TYPE: Final = "application/simple-filter+xml"

LIMITS: Final = Limits(octets=65_536, depth=16, nodes=2_000)

#: Expressions in one document: "A default limit of 40 is RECOMMENDED" (RFC 4660 §8).
_MOST_EXPRESSIONS: Final = 40
#: Steps of any depth ("//") in one expression; each goes through the whole document.
_MOST_DESCENTS: Final = 2

_NS: Final = f"{{{ns.SIMPLE_FILTER}}}"
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}

_NAME: Final = r"(?:[^\W\d][\w.\-]*:)?[^\W\d][\w.\-]*"
_LITERAL: Final = r"""(?:"[^"]*"|'[^']*'|-?\d+(?:\.\d+)?)"""
_OPERAND: Final = rf"(?:\.\.?|(?:(?:{_NAME}|\*)/)*(?:@?{_NAME}|\*))"
_COMPARISON: Final = rf"\s*{_OPERAND}\s*[=<>]\s*{_LITERAL}\s*"
_CONDITION: Final = rf"\[{_COMPARISON}(?:\b(?:and|or)\b{_COMPARISON})*\]"
_REFERENCE: Final = re.compile(
    rf"(?://?(?:{_NAME}|\*)(?:{_CONDITION})?)+(?://?@(?:{_NAME}|\*)(?:{_CONDITION})?)?"
    rf"|//?@(?:{_NAME}|\*)"
)
_PREFIX: Final = re.compile(r"([^\W\d][\w.\-]*):")
_QUOTED: Final = re.compile(r"""("[^"]*"|'[^']*')""")


class FilterError(DocumentError):
    """A filter that is understood as one but not accepted: 488 (RFC 4660 §5.4)."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.status = 488
        self.reason = "Not Acceptable Here"


class Expression(NamedTuple):
    """What an ``include``, ``exclude``, ``changed``, ``added`` or ``removed`` names.

    ``text`` is in the subset of XPath of RFC 4661 §5, or a namespace where
    ``is_namespace`` says so; ``bindings`` are the (prefix, namespace) pairs.
    """

    text: str
    bindings: tuple[tuple[str, str], ...] = ()
    is_namespace: bool = False

    def select(self, root: etree._Element) -> list[etree._Element | str]:
        """Give the elements, and as strings the attributes, that the expression names.

        A string knows its element (``getparent()``) and its name (``attrname``).
        """
        if self.is_namespace:
            prefix = f"{{{self.text}}}"
            return [node for node in root.iter("*") if str(node.tag).startswith(prefix)]
        found = _compiled(self.text, self.bindings)(root)
        return cast("list[etree._Element | str]", found)


class Changed(NamedTuple):
    """A change of value: of any sort, or from, to, or by at least so much (§3.6.1)."""

    expression: Expression
    from_: str | None = None
    to: str | None = None
    by: float | None = None


class Trigger(NamedTuple):
    """All of these must have happened (§3.6)."""

    changed: tuple[Changed, ...] = ()
    added: tuple[Expression, ...] = ()
    removed: tuple[Expression, ...] = ()


class What(NamedTuple):
    """What content is delivered (§3.5)."""

    include: tuple[Expression, ...] = ()
    exclude: tuple[Expression, ...] = ()


class Filter(NamedTuple):
    """One filter; any of its triggers is enough."""

    id: str
    uri: str | None = None
    domain: str | None = None
    remove: bool = False
    enabled: bool = True
    what: What | None = None
    triggers: tuple[Trigger, ...] = ()


class FilterSet(NamedTuple):
    """A whole document; ``package`` is the event package it is for, if it says so."""

    filters: tuple[Filter, ...]
    package: str | None = None

    def to_bytes(self) -> bytes:
        """Write the document, with prefixes of its own."""
        namespaces: dict[str, str] = {}
        filters = "".join([_write_filter(each, namespaces) for each in self.filters])
        bindings = "".join(
            [
                f'<ns-binding prefix="{prefix}" urn="{attribute(urn)}"/>'
                for urn, prefix in namespaces.items()
            ]
        )
        if bindings:
            bindings = f"<ns-bindings>{bindings}</ns-bindings>"
        package = "" if self.package is None else f' package="{attribute(self.package)}"'
        return (
            f'{DECLARATION}<filter-set xmlns="{ns.SIMPLE_FILTER}"{package}>'
            f"{bindings}{filters}</filter-set>"
        ).encode()


def parse_filter_set(data: bytes) -> FilterSet:
    """Read a filter document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises FilterError: 488 if something in it is not understood.
    :raises DocumentError: if the XML is not a filter document.
    """
    root = parse_content(data, limits=LIMITS)
    if root.tag != _NS + "filter-set":
        raise DocumentError(f"the root element is not <filter-set> of {ns.SIMPLE_FILTER}")
    bindings = tuple(
        (required(node, "prefix"), required(node, "urn"))
        for group in root.iterchildren(_NS + "ns-bindings")
        for node in group.iterchildren(_NS + "ns-binding")
    )
    filters = tuple(_read_filter(node, bindings) for node in root.iterchildren(_NS + "filter"))
    if not filters:
        raise FilterError("<filter-set> has no <filter>")
    if len({each.id for each in filters}) != len(filters):
        raise FilterError('two filters have the same "id"')
    if sum(_expressions(each) for each in filters) > _MOST_EXPRESSIONS:
        raise FilterError(f"there are more than {_MOST_EXPRESSIONS} expressions")
    return FilterSet(filters, root.get("package"))


def merge(current: tuple[Filter, ...], update: FilterSet) -> tuple[Filter, ...]:
    """Give the filters of a subscription after a refresh that carried filters.

    A filter of a known id replaces or, where it has no content, switches the
    one there is; ``remove`` takes it away (RFC 4660 §5.2.2).

    :raises FilterError: 488 if a new filter has no content, an unknown one is
        removed, or two are for the same resource or domain (§5.2).
    """
    kept = {each.id: each for each in current}
    for each in update.filters:
        known = kept.get(each.id)
        if each.remove:
            if known is None:
                raise FilterError(f'there is no filter "{each.id}" to remove')
            del kept[each.id]
        elif each.what is not None or each.triggers:
            kept[each.id] = each
        elif known is None:
            raise FilterError(f'filter "{each.id}" has neither <what> nor <trigger>')
        else:
            kept[each.id] = known._replace(enabled=each.enabled)
    targets = [
        (identity_key(each.uri) if each.uri else None, domain_key(each.domain or ""))
        for each in kept.values()
    ]
    if len(set(targets)) != len(targets):
        raise FilterError("two filters are for the same resource")
    return tuple(kept.values())


def _read_filter(node: etree._Element, bindings: tuple[tuple[str, str], ...]) -> Filter:
    uri, domain = node.get("uri"), node.get("domain")
    id_ = required(node, "id")
    if uri is not None and domain is not None:
        raise FilterError(f'filter "{id_}" has both "uri" and "domain"')
    what: What | None = None
    triggers: list[Trigger] = []
    for child in node:
        if child.tag == _NS + "what":
            what = What(
                tuple(_expression(each, bindings) for each in child.iterchildren(_NS + "include")),
                tuple(_expression(each, bindings) for each in child.iterchildren(_NS + "exclude")),
            )
        elif child.tag == _NS + "trigger":
            triggers.append(_read_trigger(child, bindings))
    return Filter(
        id_,
        uri,
        domain,
        _boolean(node, "remove", default=False),
        _boolean(node, "enabled", default=True),
        what,
        tuple(triggers),
    )


def _read_trigger(node: etree._Element, bindings: tuple[tuple[str, str], ...]) -> Trigger:
    changed = tuple(
        Changed(_expression(each, bindings), each.get("from"), each.get("to"), _decimal(each, "by"))
        for each in node.iterchildren(_NS + "changed")
    )
    added = tuple(_expression(each, bindings) for each in node.iterchildren(_NS + "added"))
    removed = tuple(_expression(each, bindings) for each in node.iterchildren(_NS + "removed"))
    if not (changed or added or removed):
        raise FilterError(f"<trigger> in line {line_of(node)} is empty")
    return Trigger(changed, added, removed)


def _expression(node: etree._Element, bindings: tuple[tuple[str, str], ...]) -> Expression:
    written = (node.text or "").strip()
    kind = node.get("type", "xpath")
    if kind == "namespace":
        return Expression(written, (), True)
    if kind != "xpath":
        raise FilterError(f'<{local_name(node)}> cannot have type "{kind[:40]}"')
    # Outside of literals white space only separates "and" and "or".
    parts = _QUOTED.split(written)
    parts[::2] = [re.sub(r"\s*([/\[\]@=<>])\s*", r"\1", part) for part in parts[::2]]
    written = "".join(parts)
    if len(written) > 1_000 or not _REFERENCE.fullmatch(written):
        raise FilterError(f'"{written[:80]}" is not an expression of RFC 4661')
    if sum(part.count("//") for part in parts[::2]) > _MOST_DESCENTS:
        raise FilterError(f'"{written[:80]}" has more than {_MOST_DESCENTS} steps "//"')
    try:
        _compiled(written, bindings)
    except (etree.XPathError, ValueError):
        raise FilterError(f'"{written[:80]}" uses a prefix that no <ns-binding> binds') from None
    expression = Expression(written, bindings)
    try:
        expression.select(etree.Element("x"))
    except etree.XPathError:
        raise FilterError(f'"{written[:80]}" uses a prefix that no <ns-binding> binds') from None
    return expression


def _expressions(each: Filter) -> int:
    what = each.what or What()
    return (
        len(what.include)
        + len(what.exclude)
        + sum(len(one.changed) + len(one.added) + len(one.removed) for one in each.triggers)
    )


def _write_filter(each: Filter, namespaces: dict[str, str]) -> str:
    head = f'<filter id="{attribute(each.id)}"'
    for name, value in (("uri", each.uri), ("domain", each.domain)):
        if value is not None:
            head += f' {name}="{attribute(value)}"'
    if not each.enabled:
        head += ' enabled="false"'
    inner = ""
    if each.what is not None:
        include = [_write(one, "include", namespaces) for one in each.what.include]
        exclude = [_write(one, "exclude", namespaces) for one in each.what.exclude]
        inner += f"<what>{''.join(include + exclude)}</what>"
    for trigger in each.triggers:
        parts = []
        for changed in trigger.changed:
            more = ""
            for name, wanted in (("from", changed.from_), ("to", changed.to)):
                if wanted is not None:
                    more += f' {name}="{attribute(wanted)}"'
            if changed.by is not None:
                more += f' by="{Decimal(repr(changed.by)):f}"'
            parts.append(_write(changed.expression, "changed", namespaces, more))
        parts += [_write(one, "added", namespaces) for one in trigger.added]
        parts += [_write(one, "removed", namespaces) for one in trigger.removed]
        inner += f"<trigger>{''.join(parts)}</trigger>"
    return f"{head}>{inner}</filter>"


def _prefix(written: str, bindings: dict[str, str], namespaces: dict[str, str]) -> str:
    """The prefix of a namespace in the document that is written; "xml" needs no binding."""
    urn = bindings.get(written)
    return written if urn is None else namespaces.setdefault(urn, f"n{len(namespaces) + 1}")


def _write(expression: Expression, name: str, namespaces: dict[str, str], more: str = "") -> str:
    written = expression.text
    if expression.is_namespace:
        more = ' type="namespace"'
    else:
        bindings = dict(expression.bindings)
        parts = _QUOTED.split(written)
        parts[::2] = [
            _PREFIX.sub(
                lambda found: f"{_prefix(found[1], bindings, namespaces)}:",
                part,
            )
            for part in parts[::2]
        ]
        written = "".join(parts)
    return f"<{name}{more}>{text(written)}</{name}>"


@lru_cache(maxsize=512)
def _compiled(text: str, bindings: tuple[tuple[str, str], ...]) -> etree.XPath:
    namespaces: Mapping[str, str] = dict(bindings)
    return etree.XPath(text, namespaces=namespaces)


def _boolean(node: etree._Element, name: str, *, default: bool) -> bool:
    value = node.get(name)
    if value is None:
        return default
    if value.strip() not in _BOOLEANS:
        raise FilterError(f'"{name}" of <{local_name(node)}> is neither true nor false')
    return _BOOLEANS[value.strip()]


def _decimal(node: etree._Element, name: str) -> float | None:
    value = node.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})", value.strip(), re.ASCII):
        raise FilterError(f'"{name}" of <{local_name(node)}> is not a decimal number')
    return float(value)
