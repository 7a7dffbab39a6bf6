"""The registrar behind edge proxies and flows: RFC 3327, RFC 5626."""

from simplestack.sip.uri import parse_uri
from tests.roles.test_registrar import INSTANCE, PHONE, RegistrarTestCase


class PathTests(RegistrarTestCase):
    PATH = ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>, <sip:edge.example.com;lr>"]

    def test_stored_and_copied(self) -> None:
        """The path vector is stored in order and copied to the 200 (RFC 3327 §5.3)."""
        outcome = self.register(PHONE, more={"Path": self.PATH, "Supported": "path"})
        [binding] = self.bound().values()
        self.assertEqual(binding.path, ", ".join(self.PATH))
        self.assertEqual(outcome.response.get_all("Path"), ", ".join(self.PATH).split(", "))

    def test_needs_support(self) -> None:
        """Path without Supported: path is refused with 420 and Unsupported (RFC 3327 §5.3)."""
        error = self.refused(420, PHONE, more={"Path": self.PATH})
        self.assertEqual(dict(error.headers)["Unsupported"], "path")

    def test_support_in_any_case(self) -> None:
        """Option tags are compared in any case: "field values ... are case-insensitive" (RFC 3261
        §7.3.1).
        """
        self.register(PHONE, more={"Path": self.PATH, "Supported": "Timer, PATH"})
        [binding] = self.bound().values()
        self.assertEqual(binding.path, ", ".join(self.PATH))
        response = self.register(
            f"{PHONE};{INSTANCE};reg-id=1", flow="tcp:a>b", cseq=2, more={"Supported": "Outbound"}
        ).response
        self.assertEqual(response.get_all("Require"), ["outbound"])

    def test_bad_path(self) -> None:
        """A Path that can't be read is refused with 400: nobody could be reached by it."""
        self.refused(400, PHONE, more={"Path": "<not a uri>", "Supported": "path"})

    def test_refresh_without_path(self) -> None:
        """A refresh that came another way replaces the path vector."""
        self.register(PHONE, more={"Path": self.PATH, "Supported": "path"})
        self.register(PHONE, cseq=2)
        [binding] = self.bound().values()
        self.assertEqual(binding.path, "")


class OutboundTests(RegistrarTestCase):
    FLOW = f"{PHONE};{INSTANCE};reg-id=1"

    def test_same_flow_replaces(self) -> None:
        """Instance and reg-id are the binding, whatever its URI (RFC 5626 §6)."""
        self.register(self.FLOW)
        [first] = self.bound().values()
        moved = self.FLOW.replace("192.0.2.1", "192.0.2.77").replace("f81d4fae", "F81D4FAE")
        self.register(moved, call_id="rebooted", flow="udp:c>d")
        [binding] = self.bound().values()
        self.assertEqual(binding.uri, "sip:alice@192.0.2.77")
        self.assertEqual(binding.id, first.id)
        self.assertEqual((binding.reg_id, binding.flow), (1, "udp:c>d"))

    def test_other_flow_is_another_binding(self) -> None:
        """Each reg-id is a flow of its own (RFC 5626 §6)."""
        self.register(self.FLOW)
        self.register(self.FLOW.replace("reg-id=1", "reg-id=2"), call_id="second")
        self.assertEqual(len(self.decided.state.bindings), 2)
        self.register(f"{PHONE};{INSTANCE};reg-id=2;expires=0", call_id="second", cseq=2)
        [binding] = self.decided.state.bindings.values()
        self.assertEqual(binding.reg_id, 1)

    def test_reg_id_without_instance_is_ignored(self) -> None:
        """A reg-id without instance is ignored (RFC 5626 §6)."""
        self.register(f"{PHONE};reg-id=1")
        [binding] = self.bound().values()
        self.assertEqual((binding.reg_id, binding.key), (0, parse_uri("sip:alice@192.0.2.1").key()))

    def test_bad_reg_id(self) -> None:
        """reg-id is a number from 1 to 2^31 - 1 (RFC 5626 appendix B)."""
        for reg_id in ("0", "2147483648", "x", "-1"):
            self.refused(400, f"{PHONE};{INSTANCE};reg-id={reg_id}")

    def test_flow_that_ends_beside_others(self) -> None:
        """RFC 5626 §6: refused is "more than one header field value with a non-zero expiration"
        where "any of these header field values contain a "reg-id"": one that ends is none of these.
        """
        self.register(self.FLOW)
        others = "<sip:alice@192.0.2.8>, <sip:alice@192.0.2.9>"
        self.register(f"{self.FLOW};expires=0, {others}", cseq=2)
        self.assertEqual([each.reg_id for each in self.decided.state.bindings.values()], [0, 0])

    def test_one_lasting_contact(self) -> None:
        """With a reg-id there is one contact that lasts; removals may stand beside it (§6)."""
        self.refused(400, self.FLOW, "<sip:b@h>")
        self.register("<sip:b@h>", call_id="second")
        self.register(self.FLOW, "<sip:b@h>;expires=0")
        self.assertEqual(list(self.bound()), ["sip:alice@192.0.2.1"])

    def test_require_outbound(self) -> None:
        """Over a connection the 200 says Require: outbound if the client supports it (§6)."""
        response = self.register(
            self.FLOW, flow="tcp:a>b", more={"Supported": "outbound, path"}
        ).response
        self.assertEqual(response.get_all("Require"), ["outbound"])
        response = self.register(self.FLOW, flow="tcp:a>b", cseq=2).response
        self.assertIsNone(response.get("Require"))

    def test_not_over_udp(self) -> None:
        """Over UDP keep-alive is STUN (§4.4.2), which is not served, so outbound is not claimed."""
        response = self.register(
            self.FLOW, flow="udp:a>b", more={"Supported": "outbound, path"}
        ).response
        self.assertIsNone(response.get("Require"))

    def test_first_hop_lacks_outbound(self) -> None:
        """Behind a proxy without ;ob a client that counts on outbound gets 439 (§6)."""
        vias = ["SIP/2.0/UDP p.example.com;branch=z9hG4bK2", "SIP/2.0/UDP a;branch=z9hG4bK1"]
        self.refused(439, self.FLOW, more={"Via": vias, "Supported": "outbound, path"})
        self.register(self.FLOW, more={"Via": vias})
        [binding] = self.bound().values()
        self.assertEqual((binding.reg_id, binding.key), (0, parse_uri("sip:alice@192.0.2.1").key()))

    def test_first_hop_with_outbound(self) -> None:
        """Behind an edge proxy that adds Path with ;ob outbound is applied (§6)."""
        vias = ["SIP/2.0/UDP p.example.com;branch=z9hG4bK2", "SIP/2.0/UDP a;branch=z9hG4bK1"]
        path = "<sip:core.example.com;lr>, <sip:edge.example.com;lr;ob>"
        response = self.register(
            self.FLOW, more={"Via": vias, "Supported": "outbound, path", "Path": path}
        ).response
        self.assertEqual(response.get_all("Require"), ["outbound"])
        [binding] = self.bound().values()
        self.assertEqual(binding.reg_id, 1)
