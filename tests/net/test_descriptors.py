"""Connections and file descriptors."""

import resource
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.descriptors import RESERVE, raise_limit, room


class DescriptorsTests(SynchronousTestCase):
    def limits(self, soft: int, hard: int) -> mock.Mock:
        """The system's limits, for this test; what they are set to."""
        found = mock.patch.object(resource, "getrlimit", return_value=(soft, hard))
        changed = mock.patch.object(resource, "setrlimit")
        found.start()
        self.addCleanup(found.stop)
        self.addCleanup(changed.stop)
        return changed.start()

    def test_raised(self) -> None:
        """The soft limit is raised as far as it is needed and allowed, and never lowered."""
        unlimited = resource.RLIM_INFINITY
        for soft, hard, wanted in (
            (1024, 65_536, 20_000 + RESERVE),
            (1024, 4096, 4096),
            (1024, unlimited, 20_000 + RESERVE),
        ):
            changed = self.limits(soft, hard)
            raise_limit(20_000)
            changed.assert_called_once_with(resource.RLIMIT_NOFILE, (wanted, hard))
        for soft, hard in ((65_536, 65_536), (unlimited, unlimited), (4096, 4096)):
            changed = self.limits(soft, hard)
            raise_limit(20_000)
            changed.assert_not_called()

    def test_room(self) -> None:
        """So many connections are let in that the database and the logs have files left."""
        for soft, fitting in (
            (65_536, 20_000),
            (20_000, 20_000 - RESERVE),
            (256, 128),
            (resource.RLIM_INFINITY, 20_000),
        ):
            self.limits(soft, soft)
            self.assertEqual(room(20_000), fitting)
