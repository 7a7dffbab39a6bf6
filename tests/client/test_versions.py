"""The versions of partial documents."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.versions import Step, Versions


class VersionsTests(SynchronousTestCase):
    def test_steps(self) -> None:
        """RFC 3680 §5.2, RFC 3858 §4.1: full state replaces; the next version is merged, an older
        one ignored; after a gap the full state is asked for.
        """
        versions = Versions()
        steps = [
            versions.take(version, full)
            for version, full in (
                (0, True),
                (1, False),
                (1, False),
                (0, False),
                (3, False),
                (4, True),
                (5, False),
                (0, True),
                (1, False),
            )
        ]
        self.assertEqual(
            steps,
            [
                Step.REPLACE,
                Step.MERGE,
                Step.IGNORE,
                Step.IGNORE,
                Step.REFRESH,
                Step.REPLACE,
                Step.MERGE,
                Step.REPLACE,
                Step.MERGE,
            ],
        )

    def test_partial_first(self) -> None:
        """Without a full state before it a partial one means nothing."""
        self.assertEqual(Versions().take(7, False), Step.REFRESH)
