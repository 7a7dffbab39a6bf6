"""What a configuration names on this machine, looked at before a run and not after it."""

import os
import ssl
from pathlib import Path

from simplestack.stone.configuration import Configuration
from simplestack.stone.errors import ConfigurationError, StoneError

__all__ = ["address_of", "check_surroundings", "own_bodies"]


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``.  Raises ConfigurationError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def own_bodies(directory: str) -> list[bytes]:
    """The documents of a directory.  Raises StoneError where one can't be used."""
    found = []
    try:
        for each in sorted(Path(directory).iterdir()):
            if each.is_file():
                found.append(each.read_bytes())
                if b"{mark}" not in found[-1]:
                    raise StoneError(
                        f"load.bodies: {each} has no {{mark}}, by which its NOTIFYs would be known"
                    )
    except OSError as error:
        raise StoneError(f"load.bodies: {error}") from None
    if not found:
        raise StoneError(f"load.bodies: {directory} has no document")
    return found


def check_surroundings(configuration: Configuration) -> None:
    """Raise ConfigurationError where a file or an address can't be used.

    What loaders and handlers elsewhere will look for is left to them.
    """
    generator, report = configuration.generator, configuration.report
    try:
        address_of(generator.listen)
    except ConfigurationError as error:
        raise ConfigurationError(f"generator.listen: {error}") from None
    for name, place in (("json", report.json), ("html", report.html)):
        if place and (
            Path(place).is_dir() or not os.access(Path(place).absolute().parent, os.W_OK)
        ):
            raise ConfigurationError(f"report.{name}: {place} can't be written")
    if generator.remote:
        return
    if configuration.load.bodies:
        try:
            own_bodies(configuration.load.bodies)
        except StoneError as error:
            raise ConfigurationError(str(error)) from None
    if configuration.server.ca:
        try:
            ssl.create_default_context(cafile=configuration.server.ca)
        except OSError as error:
            raise ConfigurationError(
                f"server.ca: {configuration.server.ca}: {error.strerror or error}"
            ) from None
