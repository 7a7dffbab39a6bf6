from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from simplestack.roles.composition import UnionPolicy
from simplestack.roles.policies.activity import LatestActivityPolicy
from simplestack.roles.policies.pivot import PivotPolicy
from simplestack.roles.policies.priority import PriorityPolicy
from simplestack.roles.policies.recent import MostRecentPolicy
from simplestack.roles.policies.rules import RulesPolicy

union = UnionPolicy()
most_recent = MostRecentPolicy()
latest_activity = LatestActivityPolicy()
priority = PriorityPolicy()
pivot = PivotPolicy()
rules = RulesPolicy()

for policy in (union, most_recent, latest_activity, priority, pivot, rules):
    alsoProvides(policy, IPlugin)
del policy
