from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from simplestack.xcap.usages.directory import XCAPDirectory
from simplestack.xcap.usages.pidfmanipulation import PIDFManipulation
from simplestack.xcap.usages.presrules import OMAPresRules, PresRules
from simplestack.xcap.usages.resourcelists import ResourceLists
from simplestack.xcap.usages.rlsservices import RLSServices

resource_lists = ResourceLists()
rls_services = RLSServices()
pres_rules = PresRules()
pidf_manipulation = PIDFManipulation()
oma_pres_rules = OMAPresRules()
xcap_directory = XCAPDirectory()

for usage in (
    resource_lists,
    rls_services,
    pres_rules,
    pidf_manipulation,
    oma_pres_rules,
    xcap_directory,
):
    alsoProvides(usage, IPlugin)
del usage
