from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from simplestack.roles.composition import UnionPolicy

union = UnionPolicy()
alsoProvides(union, IPlugin)
