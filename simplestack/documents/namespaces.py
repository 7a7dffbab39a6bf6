"""The XML namespaces of presence and of the documents around it."""

from typing import Final

XML: Final = "http://www.w3.org/XML/1998/namespace"

PIDF: Final = "urn:ietf:params:xml:ns:pidf"
PIDF_DIFF: Final = "urn:ietf:params:xml:ns:pidf-diff"
DATA_MODEL: Final = "urn:ietf:params:xml:ns:pidf:data-model"
RPID: Final = "urn:ietf:params:xml:ns:pidf:rpid"
CIPID: Final = "urn:ietf:params:xml:ns:pidf:cipid"
CAPS: Final = "urn:ietf:params:xml:ns:pidf:caps"
TIMED_STATUS: Final = "urn:ietf:params:xml:ns:pidf:timed-status"

COMMON_POLICY: Final = "urn:ietf:params:xml:ns:common-policy"
PRES_RULES: Final = "urn:ietf:params:xml:ns:pres-rules"

WATCHERINFO: Final = "urn:ietf:params:xml:ns:watcherinfo"
REGINFO: Final = "urn:ietf:params:xml:ns:reginfo"
GRUUINFO: Final = "urn:ietf:params:xml:ns:gruuinfo"

RESOURCE_LISTS: Final = "urn:ietf:params:xml:ns:resource-lists"
RLS_SERVICES: Final = "urn:ietf:params:xml:ns:rls-services"

XCAP_CAPS: Final = "urn:ietf:params:xml:ns:xcap-caps"
XCAP_DIFF: Final = "urn:ietf:params:xml:ns:xcap-diff"
XCAP_ERROR: Final = "urn:ietf:params:xml:ns:xcap-error"

SIMPLE_FILTER: Final = "urn:ietf:params:xml:ns:simple-filter"
RLMI: Final = "urn:ietf:params:xml:ns:rlmi"
IMDN: Final = "urn:ietf:params:xml:ns:imdn"
