# simplestack as an operator runs it:  twistd -ny simplestack.tac
#
# Every setting stands here with its default; take the "#" away and change it. Each role is an
# object on a line of its own: remove the line to leave the role out, or put another object there
# that provides the same interface. What each setting does is told in docs/operating/settings.md.

from twisted.application.service import Application

from simplestack.app.plugins import (
    application_usages,
    authorization_policy,
    composer,
    publisher_rules,
)
from simplestack.app.settings import Settings
from simplestack.app.tap import Daemon, makeStack, mistakes_told
from simplestack.roles.lists import ResourceLists
from simplestack.roles.presence import PresenceAgent
from simplestack.roles.regevent import RegEvent
from simplestack.roles.registrar import Registrar
from simplestack.roles.watcherinfo import WatcherInfo
from simplestack.roles.xcap import XCAP

# A mistake in here ends the start with one line that says which.
with mistakes_told():
    settings = Settings(
        domains=["localhost"],
        listen=[
            "udp:5060:interface=127.0.0.1",
            "tcp:5060:interface=127.0.0.1",
            # "tls:5061:interface=127.0.0.1:privateKey=/etc/simplestack/key.pem:certKey=/etc/simplestack/cert.pem",
        ],
        xcap=["tcp:8080:interface=127.0.0.1"],
        # xcap_origins=["https://client.example.com"],
        store="sqlite:///simplestack.db",
        # store="postgresql://simplestack:secret@db.example.com/simplestack",
        # credentials="store",
        # control="simplestack.control",
        # advertise="",
        #
        # subscribe_min_expires=60,
        # subscribe_max_expires=86400,
        # max_subscriptions=5000,
        # max_subscriptions_per_watcher=30,
        # waiting_time=604800,
        # max_waiting=100,
        # notify_interval=5,
        #
        # registration_is_presence=True,
        # default_handling="confirm",
        # composition="union",
        # domain_composition=["example.com=most-recent"],
        # user_composition=True,
        # stale_after=0,
        # authorization="pres-rules",
        # publishers=["sip:pbx@localhost"],
        # publisher_rules="",
        # publisher_excess="drop",
        # sources=["calendar=/etc/simplestack/calendars"],
        #
        # digest_algorithms=["SHA-512-256", "SHA-256", "MD5"],
        # list_servers=["sip:lists@example.net"],
        # trusted_peers=["192.0.2.7", "udp:10.0.0.0/8"],
        # identity_keys="/etc/simplestack/identity-keys",
        # identity_signing="/etc/simplestack/identity-signing",
        # identity_required=["example.org"],
        # nonce_lifetime=300,
        # max_nonces=100_000,
        #
        # max_connections=20_000,
        # max_connections_per_address=1_000,
        # max_xcap_connections_per_address=1_000,
        # connection_idle=3900,
        # max_transactions=200_000,
        # restart_window=10,
        # resident_idle=600,
    )

    registrar = Registrar(
        # min_expires=60,
        # default_expires=3600,
        # max_expires=86400,
        # max_contacts=10,
        # max_contact_length=2048,
        # third_parties=["sip:provisioning@localhost"],
    )

    presence = PresenceAgent(
        composer(settings),
        authorization_policy(settings.authorization, settings.default_handling),
        publisher_rules(settings),
        # min_expires=60,
        # default_expires=3600,
        # max_expires=86400,
        # max_body=32768,
        # max_publications=16,
    )

    reg = RegEvent(
        # watchers=["sip:monitor@localhost", "@example.com"],
    )

    xcap = XCAP(
        application_usages(),
        # max_document_size=262144,
        # max_documents=32,
        # admins=["sip:admin@localhost"],
        # root="https://xcap.example.com/",
    )

    lists = ResourceLists(
        # interval=1.0,
        # max_entries=500,
        # max_body=16384,
        # services={"sip:team@localhost": b"<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'><list/></resource-lists>"},
        # root="https://xcap.example.com/",
        # remote=True,
        # max_remote=10000,
        # credentials={"example.net": ("user", "password")},
        # trusted=["example.net"],
        # external=["https://xcap.example.net/"],
    )

    stack = makeStack(
        settings,
        roles=[
            registrar,
            presence,
            reg,
            WatcherInfo([*presence.packages, *reg.packages]),
            xcap,
            lists,
        ],
    )

application = Application("simplestack")
Daemon(stack).setServiceParent(application)
