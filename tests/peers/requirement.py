"""Programs that the tests need: where one is missing, they are skipped, or fail where they may not."""

import os
import shutil
from unittest import SkipTest

__all__ = ["required"]


def required(program: str, package: str) -> str:
    """The path of a program; skips the test, and says why, where it is not installed.

    With SIMPLESTACK_REQUIRE_PEERS=1 in the environment the test fails instead.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not installed ({package})"
    if os.environ.get("SIMPLESTACK_REQUIRE_PEERS") == "1":
        raise AssertionError(f"{reason}, and SIMPLESTACK_REQUIRE_PEERS wants it")
    print(f"{reason}: its tests are skipped")
    raise SkipTest(reason)
