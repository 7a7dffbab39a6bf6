"""Digest access authentication."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.digest import (
    ALGORITHMS,
    Nonces,
    NonceState,
    authentication_info,
    authorize,
    challenges,
    choose,
    ha1,
    hash_text,
    response_digest,
    rspauth,
    verify,
)
from simplestack.sip.fields import parse_auth_params, parse_challenge, parse_credentials

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CREDENTIALS = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
    f'algorithm=%s, nonce="{NONCE}", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="%s", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


class ExampleTests(SynchronousTestCase):
    """The examples of the RFCs."""

    def test_algorithms(self) -> None:
        """RFC 7616 §3.7: all three are there, in the order of preference."""
        self.assertEqual(ALGORITHMS, ("SHA-512-256", "SHA-256", "MD5"))

    def test_md5_and_sha_256(self) -> None:
        """RFC 7616 §3.9.1."""
        for algorithm, response in (
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ):
            credentials = parse_credentials(CREDENTIALS % (algorithm, response))
            secret = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
            self.assertTrue(verify(credentials, secret, "GET"))
            self.assertFalse(verify(credentials, secret, "PUT"))
            wrong = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle Of Life")
            self.assertFalse(verify(credentials, wrong, "GET"))
            self.assertEqual(credentials.nonce_count, 1)

    def test_sha_512_256(self) -> None:
        """RFC 7616 §3.9.2, with the values of erratum 4897: SHA-512/256 as FIPS 180-4 §6.7 has it."""
        user = "J\u00e4s\u00f8n Doe"
        self.assertEqual(
            hash_text("SHA-512-256", f"{user}:api@example.org"),
            "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b",
        )
        credentials = parse_credentials(
            "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, "
            'realm="api@example.org", uri="/doe.json", algorithm=SHA-512-256, '
            'nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", nc=00000001, '
            'cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", qop=auth, '
            'response="3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5", '
            'opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", userhash=false'
        )
        self.assertEqual(credentials.username, user)
        secret = ha1("SHA-512-256", user, "api@example.org", "Secret, or not?")
        self.assertTrue(verify(credentials, secret, "GET"))

    def test_rfc_2617(self) -> None:
        """RFC 2617 §3.5, which RFC 3261 §22.4 still allows: MD5, named or not, with qop and without."""
        secret = ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
        text = (
            'Digest username="Mufasa", realm="testrealm@host.com", '
            'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth, '
            'nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1"'
        )
        self.assertTrue(verify(parse_credentials(text), secret, "GET"))
        old = response_digest(
            "MD5", secret, "GET", "/dir/index.html", "dcd98b7102dd2f0e8b11d0f600bfb0c093"
        )
        self.assertEqual(old, "670fd8c2df070c60b045671b8b24ff02")

    def test_empty_body(self) -> None:
        """RFC 8760 §2.6: with auth-int the body of a message without one is the empty string."""
        self.assertEqual(
            hash_text("SHA-256", ""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        )
        self.assertEqual(hash_text("SHA-256", b""), hash_text("SHA-256", ""))


class ExchangeTests(SynchronousTestCase):
    """Both ends of an exchange."""

    def test_challenges(self) -> None:
        """RFC 8760 §2.3: one field for each algorithm, the preferred one at the top."""
        offers = [parse_challenge(text) for text in challenges('a "realm"', "n", stale=True)]
        self.assertEqual([offer.algorithm for offer in offers], list(ALGORITHMS))
        for offer in offers:
            self.assertEqual((offer.param("realm"), offer.param("nonce")), ('a "realm"', "n"))
            self.assertEqual((offer.qop, offer.stale), (("auth",), True))
        text = challenges("r", "n", opaque="o", algorithms=("MD5",))
        self.assertEqual(
            text, ['Digest realm="r", nonce="n", qop="auth", algorithm=MD5, opaque="o"']
        )

    def test_choice(self) -> None:
        """RFC 8760 §2.4: the topmost that is understood; §2.4: "MUST ignore any challenge it does not understand"."""
        offers = [
            parse_challenge(text)
            for text in (
                'Basic realm="r"',
                'Digest realm="r", nonce="n", algorithm=SHA3-512, qop="auth"',
                'Digest realm="r", nonce="n", algorithm=SHA-256-sess, qop="auth"',
                'Digest realm="r", nonce="n", algorithm=SHA-256, qop="unheard-of"',
                'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth,unheard-of"',
                'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"',
            )
        ]
        self.assertIs(choose(offers), offers[4])
        self.assertIsNone(choose(offers[:4]))

    def test_both_ends(self) -> None:
        """RFC 7616 §3.4, §3.5: what a client answers the server verifies, and the proof goes back."""
        for algorithm in ALGORITHMS:
            secret = ha1(algorithm, "a\u00e9", "r", "p")
            for qop in (', qop="auth"', ', qop="auth-int"', ', qop="auth-int,auth"', ""):
                offer = parse_challenge(
                    f'Digest realm="r", nonce="n", algorithm={algorithm}, opaque="o"{qop}'
                )
                body = b"body"
                sent = authorize(offer, "a\u00e9", secret, "PUBLISH", "sip:a@b", 10, "c", body)
                got = parse_credentials(str(sent))
                self.assertEqual(got, sent)
                self.assertTrue(verify(got, secret, "PUBLISH", body))
                self.assertEqual(
                    verify(got, secret, "PUBLISH", b"x"), got.param("qop") != "auth-int"
                )
                self.assertFalse(verify(got, ha1(algorithm, "a", "r", "x"), "PUBLISH", body))
                self.assertEqual(got.nonce_count, 10 if qop else 1)
                info = parse_auth_params(authentication_info(got, secret, "next", b"answer"))
                self.assertEqual(info["nextnonce"], "next")
                proof = rspauth(
                    algorithm,
                    secret,
                    "sip:a@b",
                    "n",
                    got.param("nc"),
                    got.param("cnonce"),
                    got.param("qop"),
                    b"answer",
                )
                self.assertEqual(info["rspauth"], proof)
                self.assertEqual("nc" in info, bool(qop))
        again = authorize(offer, "a", secret, "X", "sip:a@b", 1, "c", nonce="next")
        self.assertEqual(again.param("nonce"), "next")

    def test_not_offered(self) -> None:
        """What is never offered is never right."""
        secret = ha1("MD5", "a", "r", "p")
        for params in ("algorithm=MD5-sess", "algorithm=X", "qop=x", "response=\u00e9"):
            self.assertFalse(verify(parse_credentials(f"Digest {params}"), secret, "X"))


def octets(seed: int) -> bytes:
    """Octets that stand for chance."""
    return random.Random(seed).randbytes(11)


class NonceTests(SynchronousTestCase):
    """RFC 7616 §5.4, §5.5."""

    def setUp(self) -> None:
        """A minter of small memory."""
        self.nonces = Nonces(b"secret", since=1000.0, lifetime=600.0, capacity=4)

    def test_stateless(self) -> None:
        """A nonce is known again without having been kept, until it expires."""
        nonce = self.nonces.mint(1000.0, octets(1))
        self.assertEqual(self.nonces.check(nonce, 1600.0), NonceState.VALID)
        self.assertEqual(self.nonces.check(nonce, 1600.1), NonceState.STALE)
        self.assertEqual(len(self.nonces), 0)
        self.assertNotEqual(nonce, self.nonces.mint(1000.0, octets(2)))
        self.assertRaises(ValueError, self.nonces.mint, 1000.0, b"short")

    def test_not_ours(self) -> None:
        """What is no nonce of ours is invalid, and is never used."""
        nonce = self.nonces.mint(1000.0, octets(1))
        other = Nonces(b"another", 0.0).mint(1000.0, octets(1))
        for text in (
            "",
            "x",
            nonce[:-1],
            nonce + "=",
            "A" + nonce[1:],
            other,
            "é" * 44,
            "!" * 44,
            nonce[:-4] + "====",
        ):
            expected = NonceState.INVALID
            if text == nonce:
                continue
            self.assertEqual(self.nonces.check(text, 1000.0), expected, text)
            self.assertFalse(self.nonces.use(text, 1, 1000.0), text)
        self.assertEqual(len(self.nonces), 0)

    def test_counts(self) -> None:
        """§5.5: a count is good once; up to 64 may overtake one another."""
        nonce = self.nonces.mint(1000.0, octets(1))
        for count, good in (
            (1, True),
            (1, False),
            (3, True),
            (2, True),
            (2, False),
            (66, True),
            (3, False),
            (4, True),
            (2, False),
            (1, False),
            (2**32 - 1, True),
            (66, False),
            (2**32 - 2, True),
            (2**32 - 1, False),
            (0, False),
        ):
            self.assertEqual(self.nonces.use(nonce, count, 1001.0), good, count)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(1, 150), max_size=80))
    def test_never_twice(self, counts: list[int]) -> None:
        """§5.5: whatever comes in whichever order, no count is good twice, and one within the window once."""
        nonces = Nonces(b"secret", 0.0)
        nonce = nonces.mint(1.0, octets(1))
        used: set[int] = set()
        for count in counts:
            good = nonces.use(nonce, count, 2.0)
            if count in used:
                self.assertFalse(good)
            elif not used or count > max(used) - 64:
                self.assertTrue(good)
            if good:
                used.add(count)

    def test_bounded_with_expired_ones(self) -> None:
        """Nonces that expire in use leave nothing behind that grows, and none is good again."""
        nonces = Nonces(b"secret", 0.0, lifetime=600.0, capacity=4)
        fresh = nonces.mint(1000.0, octets(1))
        self.assertTrue(nonces.use(fresh, 1, 1000.0))
        for number in range(2, 40):
            late = nonces.mint(401.0, octets(number))
            nonces.use(late, 1, 1000.0)
            self.assertFalse(nonces.use(late, 2, 1003.0))
            self.assertFalse(nonces.use(late, 1, 1000.0))
            self.assertFalse(nonces.use(fresh, 1, 1000.0))
            self.assertLessEqual(len(nonces._order), 4)
            self.assertLessEqual(len(nonces), 4)

    def test_in_use(self) -> None:
        """A nonce in use expires too; half way it is time for the next."""
        nonce = self.nonces.mint(1000.0, octets(1))
        self.assertTrue(self.nonces.use(nonce, 1, 1000.0))
        self.assertFalse(self.nonces.aging(nonce, 1300.0))
        self.assertTrue(self.nonces.aging(nonce, 1300.1))
        self.assertEqual(self.nonces.check(nonce, 1600.0), NonceState.VALID)
        self.assertEqual(self.nonces.check(nonce, 1601.0), NonceState.STALE)
        self.assertFalse(self.nonces.use(nonce, 2, 1601.0))
        self.assertEqual(len(self.nonces), 0)
        self.assertFalse(self.nonces.use(nonce, 3, 1601.0))

    def test_restart(self) -> None:
        """What was used before a restart is not known: nonces from before it are stale."""
        nonce = self.nonces.mint(1000.0, octets(1))
        again = Nonces(b"secret", since=1001.0)
        self.assertEqual(again.check(nonce, 1001.0), NonceState.STALE)
        self.assertFalse(again.use(nonce, 1, 1001.0))

    def test_bounded(self) -> None:
        """Memory is bounded, and a nonce that was forgotten is not taken again."""
        kept = [self.nonces.mint(1000.0 + n, octets(n)) for n in range(6)]
        for nonce in kept:
            self.assertTrue(self.nonces.use(nonce, 1, 1006.0))
        self.assertEqual(len(self.nonces), 4)
        for nonce in kept[:2]:
            self.assertEqual(self.nonces.check(nonce, 1006.0), NonceState.STALE)
            self.assertFalse(self.nonces.use(nonce, 2, 1006.0))
        for nonce in kept[2:]:
            self.assertTrue(self.nonces.use(nonce, 2, 1006.0))
            self.assertFalse(self.nonces.use(nonce, 1, 1006.0))
        fresh = self.nonces.mint(1007.0, octets(9))
        self.assertEqual(self.nonces.check(fresh, 1007.0), NonceState.VALID)

    def test_oldest_goes(self) -> None:
        """The nonce that has been in use longest, and so would expire first, makes room."""
        kept = [self.nonces.mint(1000.0, octets(n)) for n in range(4)]
        for nonce in kept:
            self.nonces.use(nonce, 1, 1001.0)
        self.nonces.use(kept[0], 2, 1001.0)
        self.nonces.use(self.nonces.mint(1002.0, octets(8)), 1, 1002.0)
        self.assertFalse(self.nonces.use(kept[0], 3, 1002.0))
        self.assertTrue(self.nonces.use(kept[2], 2, 1002.0))

    def test_expired_make_room(self) -> None:
        """Expired nonces go as new ones come, and forgetting them makes nothing stale."""
        for n in range(4):
            self.nonces.use(self.nonces.mint(1000.0, octets(n)), 1, 1000.0)
        waiting = self.nonces.mint(1000.5, octets(7))
        for n in range(10, 12):
            self.assertTrue(self.nonces.use(self.nonces.mint(1600.2, octets(n)), 1, 1600.2))
        self.assertEqual(len(self.nonces), 2)
        self.assertEqual(self.nonces.check(waiting, 1600.2), NonceState.VALID)
