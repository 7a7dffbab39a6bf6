"""Finds what differs between deployments through ``twisted.plugin``, and makes the roles of it."""

from collections.abc import Callable
from pathlib import Path

from twisted.plugin import getPlugins

from simplestack.app.settings import Settings, SettingsError
from simplestack.documents.errors import DocumentError
from simplestack.interfaces import (
    IApplicationUsage,
    IAuthorizationPolicy,
    ICompositionPolicy,
    ICredentialSource,
    IEventPackage,
    IRole,
)
from simplestack.roles.composer import Composer
from simplestack.roles.lists import DOMAIN_USERS, ResourceLists
from simplestack.roles.packages import Packages
from simplestack.roles.preferences import Preferences
from simplestack.roles.presence import PresenceAgent
from simplestack.roles.publishers import PublisherRules
from simplestack.roles.regevent import RegEvent
from simplestack.roles.registrar import Registrar
from simplestack.roles.watcherinfo import WatcherInfo
from simplestack.roles.xcap import XCAP
from simplestack.store.credentials import SQLCredentials
from simplestack.store.sql import SQLStore

__all__ = [
    "application_usages",
    "authorization_policy",
    "composer",
    "composition_policies",
    "composition_policy",
    "credential_source",
    "make_roles",
    "publisher_rules",
]


def composition_policy(name: str) -> ICompositionPolicy:
    """The plug-in of this name that composes presence documents.

    Raises SettingsError where there is none.
    """
    found = {policy.name: policy for policy in getPlugins(ICompositionPolicy)}
    if name not in found:
        raise SettingsError(
            f"there is no composition policy {name!r}; there are {', '.join(sorted(found))}"
        )
    policy: ICompositionPolicy = found[name]
    return policy


def composition_policies() -> dict[str, ICompositionPolicy]:
    """Every composition policy that is installed, by name."""
    return {policy.name: policy for policy in getPlugins(ICompositionPolicy)}


def authorization_policy(name: str, default_handling: str) -> IAuthorizationPolicy:
    """The plug-in of this name that decides what watchers see.

    Raises SettingsError where there is none.
    """
    found = {policy.name: policy for policy in getPlugins(IAuthorizationPolicy)}
    if name not in found:
        raise SettingsError(
            f"there is no authorization policy {name!r}; there are {', '.join(sorted(found))}"
        )
    policy: IAuthorizationPolicy = found[name].configured(default_handling)
    return policy


def application_usages() -> list[IApplicationUsage]:
    """Every application usage of XCAP that is installed."""
    usages = list(getPlugins(IApplicationUsage))
    for usage in usages:
        if isinstance(usage, Preferences):
            usage.policies = composition_policies()
    return usages


def make_roles(settings: Settings) -> list[IRole]:
    """The roles that the settings name, in the order of the settings."""
    roles: dict[str, IRole] = {}
    for name in ("registrar", "presence", "reg", "xcap", "lists"):
        if name in settings.roles:
            roles[name] = _MAKE[name](settings)
    found = list(getPlugins(IEventPackage))
    if found:
        roles["packages"] = Packages(found)
    if "winfo" in settings.roles:
        # A template over whatever is served beside it.
        roles["winfo"] = WatcherInfo(
            [package for role in roles.values() for package in role.packages]
        )
    return [roles[name] for name in (*settings.roles, "packages") if name in roles]


def credential_source(settings: Settings, store: SQLStore) -> ICredentialSource:
    """Where the settings say that users come from.

    Raises SettingsError where there is no plug-in of this name.
    """
    name = settings.credentials
    if name == "store":
        return SQLCredentials(store)
    found = {source.name: source for source in getPlugins(ICredentialSource)}
    if name not in found:
        raise SettingsError(
            f"there is no credential source {name!r}; there are {', '.join(['store', *sorted(found)])}"
        )
    source: ICredentialSource = found[name]
    return source


def _registrar(settings: Settings) -> IRole:
    return Registrar(
        min_expires=settings.register_min_expires,
        default_expires=settings.register_default_expires,
        max_expires=settings.register_max_expires,
        max_contacts=settings.max_contacts,
        third_parties=settings.registrars,
    )


def composer(settings: Settings) -> Composer:
    """What composes presence documents as the settings say.

    Raises SettingsError where a policy is not there.
    """
    domains = {}
    for text in settings.domain_composition:
        domain, _, name = text.partition("=")
        domains[domain.strip().lower()] = composition_policy(name.strip())
    return Composer(
        composition_policy(settings.composition),
        policies=composition_policies() if settings.user_composition else None,
        domains=domains,
        registration_is_presence=settings.registration_is_presence,
        stale_after=settings.stale_after,
    )


def publisher_rules(settings: Settings) -> PublisherRules:
    """Who may publish what, as the settings say.

    Raises SettingsError where the file of rules can't be used.
    """
    path = settings.publisher_rules
    try:
        rules = Path(path).read_bytes() if path else None
        return PublisherRules(
            rules,
            publishers=settings.publishers,
            refuses=settings.publisher_excess == "refuse",
        )
    except (OSError, DocumentError) as error:
        raise SettingsError(f"publisher_rules {path}: {error}") from None


def _presence(settings: Settings) -> IRole:
    return PresenceAgent(
        composer(settings),
        authorization_policy(settings.authorization, settings.default_handling),
        publisher_rules(settings),
        min_expires=settings.publish_min_expires,
        default_expires=settings.publish_default_expires,
        max_expires=settings.publish_max_expires,
        max_body=settings.max_publication_size,
        max_publications=settings.max_publications,
    )


def _reg(settings: Settings) -> IRole:
    return RegEvent(watchers=settings.reg_watchers)


def _xcap(settings: Settings) -> IRole:
    return XCAP(
        application_usages(),
        max_document_size=settings.max_document_size,
        max_documents=settings.max_documents,
        admins=settings.xcap_admins,
        root=settings.xcap_root,
    )


def _lists(settings: Settings) -> IRole:
    services = {}
    for text in settings.lists:
        uri, found, path = text.partition("=")
        if not found:
            raise SettingsError(
                f"lists has {text!r}; it takes such as sip:team@example.com=/etc/team.xml"
            )
        if path.strip().startswith(DOMAIN_USERS):
            services[uri.strip()] = path.strip().encode()
            continue
        try:
            services[uri.strip()] = Path(path.strip()).read_bytes()
        except OSError as error:
            raise SettingsError(f"lists {path.strip()}: {error.strerror}") from None
    try:
        return ResourceLists(
            interval=settings.list_interval,
            max_entries=settings.max_list_entries,
            max_body=settings.max_list_body,
            services=services,
            root=settings.xcap_root,
            remote=settings.list_remote,
            max_remote=settings.max_list_remote,
            credentials=dict([_remote_credentials(each) for each in settings.list_credentials]),
            external=settings.list_external,
            trusted=[each.strip().lower() for each in settings.list_trusted],
        )
    except ValueError as error:
        raise SettingsError(f"lists: {error}") from None


def _remote_credentials(text: str) -> tuple[str, tuple[str, str]]:
    domain, _, pair = text.partition("=")
    user, _, password = pair.partition(":")
    if not (domain.strip() and user.strip() and password):
        raise SettingsError(
            f"list_credentials has {domain!r} and what goes with it;"
            " it takes such as example.net=user:password"
        )
    return domain.strip().lower(), (user.strip(), password)


_MAKE: dict[str, Callable[[Settings], IRole]] = {
    "registrar": _registrar,
    "presence": _presence,
    "reg": _reg,
    "xcap": _xcap,
    "lists": _lists,
}
