"""Compiles the hot floors where ``SIMPLESTACK_COMPILE=1`` is in the environment.

The same sources run uncompiled: without it the package is plain Python.  What is named here is the
way of a request from its octets to the store and back, and that of the load generator; what
strangers make subclasses of, such as exceptions and policies, is left as it is.
"""

import os
from glob import glob

from setuptools import setup

COMPILED = [
    "simplestack/outcome.py",
    "simplestack/state/[!_]*.py",
    "simplestack/sip/fields/*.py",
    "simplestack/sip/[!_]*.py",
    "simplestack/transaction/[!_]*.py",
    "simplestack/documents/commonpolicy.py",
    "simplestack/documents/elements.py",
    "simplestack/documents/markup.py",
    "simplestack/documents/pidf.py",
    "simplestack/documents/timestamps.py",
    "simplestack/documents/xml.py",
    "simplestack/event/[!_]*.py",
    "simplestack/roles/composer.py",
    "simplestack/roles/rpid.py",
    "simplestack/roles/source.py",
    "simplestack/roles/presence.py",
    "simplestack/roles/registrar.py",
    "simplestack/roles/rules.py",
    "simplestack/roles/rulings.py",
    "simplestack/roles/xcapdiff.py",
    "simplestack/store/batch.py",
    "simplestack/store/committer.py",
    "simplestack/store/statements.py",
    "simplestack/app/authentication.py",
    "simplestack/app/clock.py",
    "simplestack/app/clockturns.py",
    "simplestack/app/deadlines.py",
    "simplestack/app/delivery.py",
    "simplestack/app/gathering.py",
    "simplestack/app/lists.py",
    "simplestack/app/listturn.py",
    "simplestack/app/placing.py",
    "simplestack/app/resident.py",
    "simplestack/app/serviceindex.py",
    "simplestack/app/sipturn.py",
    "simplestack/app/turn.py",
    "simplestack/app/undelivered.py",
    "simplestack/net/clockwork.py",
    "simplestack/net/connections.py",
    "simplestack/net/datagram.py",
    "simplestack/net/identifiers.py",
    "simplestack/net/network.py",
    "simplestack/net/readers.py",
    "simplestack/net/secured.py",
    "simplestack/net/stream.py",
    "simplestack/net/ways.py",
    "simplestack/stone/credentials.py",
    "simplestack/stone/histogram.py",
    "simplestack/stone/lean.py",
    "simplestack/stone/notifications.py",
    "simplestack/stone/parties.py",
    "simplestack/stone/reckoning.py",
    "simplestack/stone/schedule.py",
    "simplestack/stone/tally.py",
    "simplestack/stone/templates.py",
    "simplestack/stone/wire.py",
]
PLAIN = {
    "simplestack/sip/errors.py",
    "simplestack/sip/memory.py",
    "simplestack/transaction/diagram.py",
}
#: What the compiler must find to know the types.
NEEDED = [
    "lxml",
    "lxml-stubs",
    "mypy[mypyc] >= 2.0",
    "mypy-zope >= 1.0",
    "pyopenssl",
    "service-identity",
    "sqlalchemy >= 2.0",
    "twisted >= 23.10",
    "types-setuptools",
    "zope.interface",
]

extensions = []
wanted = os.environ.get("SIMPLESTACK_COMPILE", "") not in ("", "0")
if wanted:
    try:
        from mypyc.build import mypycify
    except ImportError:
        # The first of two calls, which asks for what is needed.
        pass
    else:
        sources = sorted({path for pattern in COMPILED for path in glob(pattern)} - PLAIN)
        extensions = mypycify(
            sources,
            opt_level=os.environ.get("SIMPLESTACK_OPT_LEVEL", "3"),
            multi_file="SIMPLESTACK_MULTI_FILE" in os.environ,
        )
        if os.name == "posix":
            # Calls within the library need not ask the linker, which also lets them be inlined.
            for extension in extensions:
                extension.extra_compile_args.append("-fvisibility=hidden")

setup(setup_requires=NEEDED if wanted and not extensions else [], ext_modules=extensions)
