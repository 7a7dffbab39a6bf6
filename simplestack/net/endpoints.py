"""Where to listen, as the operator writes it: ``udp:5060:interface=192.0.2.1``."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from simplestack.net.tls import ServerTLS
from simplestack.transaction.flow import DEFAULT_PORTS

__all__ = ["ListenSpec", "join_address", "parse_listen", "split_advertised"]

_NAMES = {
    "port": "port",
    "interface": "interface",
    "advertise": "advertise",
    "privatekey": "key",
    "key": "key",
    "certkey": "certificate",
    "cert": "certificate",
    "certificate": "certificate",
    "extracertchain": "chain",
    "chain": "chain",
}
_TLS_ONLY = ("key", "certificate", "chain")


class ListenSpec(NamedTuple):
    """One place to listen for SIP.

    `interface` is an IP address, or "" for every IPv4 address of the machine. `port` 0 lets
    the system choose. `advertise` is the host, with or without a port, that our Via shows in
    place of the address of the socket. `key`, `certificate` and `chain` are paths of PEM
    files, for TLS alone.
    """

    transport: str
    port: int
    interface: str = ""
    advertise: str = ""
    key: str = ""
    certificate: str = ""
    chain: str = ""

    def __str__(self) -> str:
        """The place in the words of a log line: ``udp 192.0.2.1:5060``."""
        return f"{self.transport} {join_address(self.interface or '*', self.port)}"


def parse_listen(text: str) -> ListenSpec:
    r"""Read ``TRANSPORT[:PORT][:NAME=VALUE]...``.

    A colon inside a value is written ``\:``, or the value stands in brackets. Raises
    ValueError with one line that says what is wrong and what would be right; the files of
    a TLS endpoint are read to see that they fit.
    """
    transport, *rest = _split(text)
    transport = transport.strip().lower()
    if transport not in DEFAULT_PORTS:
        raise ValueError(
            f"can't listen on {text!r}: the transport {transport!r} is not known;"
            " write udp:, tcp: or tls:, for example udp:5060"
        )
    values: dict[str, str] = {}
    for position, part in enumerate(rest):
        name, equals, value = part.partition("=")
        if not equals:
            if position or not part.strip():
                raise ValueError(
                    f"can't listen on {text!r}: {part!r} is no name=value;"
                    " a colon inside an address is written \\: or [in brackets]"
                )
            name, value = "port", part
        known = _NAMES.get(name.strip().lower())
        if known is None:
            raise ValueError(
                f"can't listen on {text!r}: the option {name.strip()!r} is not known;"
                " known are port, interface, advertise, and for tls privateKey, certKey,"
                " extraCertChain"
            )
        if known in values:
            raise ValueError(f"can't listen on {text!r}: {name.strip()} is given twice")
        if known in _TLS_ONLY and transport != "tls":
            raise ValueError(
                f"can't listen on {text!r}: {name.strip()} is for tls; write tls: or leave it out"
            )
        values[known] = value.strip()
    port = _port(text, values.get("port"), DEFAULT_PORTS[transport])
    interface = _interface(text, values.get("interface", ""))
    advertise = values.get("advertise", "")
    if advertise:
        split_advertised(advertise)
    spec = ListenSpec(
        transport,
        port,
        interface,
        advertise,
        values.get("key", ""),
        values.get("certificate", ""),
        values.get("chain", ""),
    )
    if transport == "tls":
        if not spec.certificate:
            raise ValueError(
                f"can't listen on {text!r}: tls needs a certificate; write"
                f" tls:{port}:privateKey=key.pem:certKey=cert.pem"
            )
        # One file with both the key and the certificate is common.
        spec = spec._replace(key=spec.key or spec.certificate)
        # Reading the files checks them.
        ServerTLS(spec.key, spec.certificate, spec.chain)
    return spec


def split_advertised(text: str) -> tuple[str, int]:
    """Host and port of an `advertise` value; port 0 where none is given."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        host += bracket
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    elif ":" in text:
        host = f"[{text}]"
    if not host.strip("[]") or any(c in host for c in ' \t;,?@<>"/'):
        raise ValueError(f"can't advertise {text!r}: write a host name or address, or host:port")
    return host, _port(text, port or None, 0)


def join_address(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address (RFC 3261 §25.1 hostport)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _port(text: str, value: str | None, default: int) -> int:
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and int(value) <= 65535):
        raise ValueError(f"can't use {text!r}: the port {value!r} is no number from 0 to 65535")
    return int(value)


def _interface(text: str, value: str) -> str:
    value = value.removeprefix("[").removesuffix("]")
    if value in ("", "*", "0.0.0.0"):
        return ""
    if value == "localhost":
        return "127.0.0.1"
    try:
        address = ip_address(value)
    except ValueError:
        raise ValueError(
            f"can't listen on {text!r}: the interface {value!r} is no IP address; write one"
            " that this machine has, for example 127.0.0.1 or [::1]"
        ) from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(
            f"can't listen on {text!r}: an address with a scope (%{address.scope_id})"
            " is not supported; use a global or unique local address"
        )
    return str(address)


def _split(text: str) -> list[str]:
    """Split at colons that are neither escaped with a backslash nor inside brackets."""
    parts: list[str] = []
    piece: list[str] = []
    inside = False
    characters = iter(text)
    for character in characters:
        if character == "\\":
            piece.append(next(characters, "\\"))
        elif character == ":" and not inside:
            parts.append("".join(piece))
            piece = []
        else:
            if character == "[":
                inside = True
            elif character == "]":
                inside = False
            piece.append(character)
    parts.append("".join(piece))
    return parts
