from hashlib import md5, sha256

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.account import Account, ChallengeError, values_of

_URI = b"/dir/index.html"


def _field(credentials: bytes, name: bytes) -> bytes:
    return credentials.partition(b" ")[2].partition(name + b"=")[2].split(b",")[0].strip(b'"')


def _account(preferred: str | None = None) -> Account:
    return Account(0, "Mufasa", "example.org", "Circle of Life", preferred)


class AccountTests(SynchronousTestCase):
    def test_the_response_is_that_of_the_rules(self) -> None:
        """The response is KD(H(A1), nonce:nc:cnonce:qop:H(A2)), RFC 7616 §3.4.1."""
        for algorithm, function in (("SHA-256", sha256), ("MD5", md5)):
            account = _account()
            account.challenged(
                [
                    f'Digest realm="http-auth@example.org", qop="auth, auth-int", '
                    f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPE", opaque="FQhe/qaU"'
                ]
            )
            for count in (b"00000001", b"00000002"):
                credentials = account.credentials(b"GET", _URI)
                ha1 = function(b"Mufasa:http-auth@example.org:Circle of Life").hexdigest()
                ha2 = function(b"GET:/dir/index.html").hexdigest()
                cnonce = _field(credentials, b"cnonce").decode()
                expected = function(
                    f"{ha1}:7ypf/xlj9XXwfDPE:{count.decode()}:{cnonce}:auth:{ha2}".encode()
                ).hexdigest()
                self.assertEqual(_field(credentials, b"response"), expected.encode())
                self.assertEqual(_field(credentials, b"nc"), count)
                self.assertEqual(_field(credentials, b"uri"), _URI)
                self.assertEqual(_field(credentials, b"opaque"), b"FQhe/qaU")

    def test_the_first_algorithm_that_can_be_used_is_used(self) -> None:
        """The topmost challenge that the client supports, RFC 7616 §3.7; or the preferred one."""
        offered = [
            'Digest realm="r", nonce="1", algorithm=SHA-3, qop="auth"',
            'Digest realm="r", nonce="2", algorithm=SHA-512-256, qop="auth"',
            'Digest realm="r", nonce="3", algorithm=MD5, qop="auth"',
        ]
        account = _account()
        account.challenged(offered)
        self.assertEqual(account.algorithm, "SHA-512-256")
        account = _account("MD5")
        account.challenged(offered)
        self.assertEqual(account.algorithm, "MD5")
        self.assertEqual(_field(account.credentials(b"GET", _URI), b"nonce"), b"3")

    def test_a_challenge_that_can_not_be_answered_is_said(self) -> None:
        """Without qop=auth there is no nonce count, and nothing of this generator fits."""
        for challenge in ('Digest realm="r", nonce="1", algorithm=MD5', "Basic realm=x"):
            self.assertRaises(ChallengeError, _account().challenged, [challenge])

    def test_a_new_nonce_is_counted_from_one(self) -> None:
        """The nonce count counts the requests with one nonce, RFC 7616 §3.4."""
        account = _account()
        self.assertEqual(account.authorization(b"GET", _URI), b"")
        for nonce in ("1", "2"):
            account.adopt("MD5", "r", nonce)
            line = account.authorization(b"GET", _URI)
            self.assertIn(b"nc=00000001", line)
            self.assertIn(f'nonce="{nonce}"'.encode(), line)

    def test_values_are_found_in_any_case(self) -> None:
        """Field names are compared without regard to case, RFC 3261 §7.3.1."""
        data = b"SIP/2.0 401 No\r\nwww-authenticate:  a\r\nWWW-Authenticate: b\r\n\r\nx: y"
        self.assertEqual(values_of(data, b"WWW-Authenticate"), [b"a", b"b"])
        self.assertEqual(values_of(data, b"x"), [])
