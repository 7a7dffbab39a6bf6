"""Character references in node selectors and in documents."""

from twisted.trial.unittest import SynchronousTestCase

from tests.xcap.owner import LISTS, Owner
from tests.xcap.test_server import INDEX, lists


class ReferenceTests(SynchronousTestCase):
    """References in attribute values and in node selectors (RFC 4825 §6.3, XML 1.0 §4.1)."""

    def test_leading_zeros(self) -> None:
        """A character reference has as many digits as its author likes."""
        owner = Owner()
        owner.has(INDEX, lists(b"<list name='&#00000000098;'/><list name='&#x00000063;'/>"), LISTS)
        for name in ("b", "c", "%26%23000000098;"):
            node = f"{INDEX}/~~/resource-lists/list[@name='{name}']"
            self.assertEqual(owner.get(node).status, 200, name)

    def test_no_character(self) -> None:
        """A reference to what is no character of XML selects nothing, and is no fault of ours."""
        owner = Owner()
        owner.has(INDEX, lists(b"<list name='a'/><list name='b'/>"), LISTS)
        for reference in ("%23xD800", "%23xdfff", "%2355296", "%230", "%23x110000", "%239999999"):
            node = f"{INDEX}/~~/resource-lists/list[@name='%26{reference};']"
            self.assertEqual(owner.get(node).status, 404, reference)
            self.assertEqual(owner.delete(node).status, 404, reference)
            self.assertEqual(owner.put(node, b"<list name='c'/>").status, 409, reference)
