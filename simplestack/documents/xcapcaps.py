"""XCAP server capabilities: ``application/xcap-caps+xml`` (RFC 4825 §12)."""

from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, text
from simplestack.documents.xml import parse_content

MEDIA_TYPE: Final = "application/xcap-caps+xml"

_NS: Final = f"{{{ns.XCAP_CAPS}}}"


class XcapCaps(NamedTuple):
    """The application usages, extensions and namespaces that a server knows."""

    auids: tuple[str, ...]
    extensions: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        return (
            f'{DECLARATION}<xcap-caps xmlns="{ns.XCAP_CAPS}">'
            f"{_write('auids', 'auid', self.auids)}"
            f"{_write('extensions', 'extension', self.extensions)}"
            f"{_write('namespaces', 'namespace', self.namespaces)}</xcap-caps>"
        ).encode()


def parse_xcap_caps(data: bytes) -> XcapCaps:
    """Read a capabilities document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not a capabilities document.
    """
    root = parse_content(data)
    if root.tag != _NS + "xcap-caps":
        raise DocumentError(f"the root element is not <xcap-caps> of {ns.XCAP_CAPS}")
    return XcapCaps(
        _read(root, "auids", "auid"),
        _read(root, "extensions", "extension"),
        _read(root, "namespaces", "namespace"),
    )


def _read(root: etree._Element, group: str, name: str) -> tuple[str, ...]:
    return tuple(
        (child.text or "").strip()
        for parent in root.iterchildren(_NS + group)
        for child in parent.iterchildren(_NS + name)
    )


def _write(group: str, name: str, values: tuple[str, ...]) -> str:
    return f"<{group}>{''.join([f'<{name}>{text(v)}</{name}>' for v in values])}</{group}>"
