from importlib.util import find_spec

from twisted.plugin import IPlugin
from zope.interface import alsoProvides, implementer

from simplestack.interfaces import IPresenceSource, IPresenceSourceFactory
from simplestack.roles.authorization import PresRulesPolicy
from simplestack.roles.composition import UnionPolicy
from simplestack.roles.policies.activity import LatestActivityPolicy
from simplestack.roles.policies.pivot import PivotPolicy
from simplestack.roles.policies.priority import PriorityPolicy
from simplestack.roles.policies.recent import MostRecentPolicy
from simplestack.roles.policies.rules import RulesPolicy
from simplestack.roles.preferences import Preferences
from simplestack.roles.publishers import Publishers

union = UnionPolicy()
most_recent = MostRecentPolicy()
latest_activity = LatestActivityPolicy()
priority = PriorityPolicy()
pivot = PivotPolicy()
rules = RulesPolicy()
pres_rules = PresRulesPolicy()
preferences = Preferences()
publishers = Publishers()


@implementer(IPresenceSourceFactory)
class CalendarFactory:
    """Makes the calendar source, whose argument is the list of calendars."""

    name = "calendar"

    def make(self, reactor: object, argument: str) -> IPresenceSource:
        """The source; needs the extra ``calendar``."""
        if not all(map(find_spec, ("icalendar", "recurring_ical_events"))):
            raise ValueError("install simplestack[calendar]")
        from simplestack.app.calendar import CalendarSource

        return CalendarSource(reactor, argument)


calendar = CalendarFactory()

for plugin in (
    union,
    most_recent,
    latest_activity,
    priority,
    pivot,
    rules,
    pres_rules,
    preferences,
    publishers,
    calendar,
):
    alsoProvides(plugin, IPlugin)
del plugin
