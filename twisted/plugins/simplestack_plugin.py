from twisted.application.service import ServiceMaker

simplestack = ServiceMaker(
    "simplestack",
    "simplestack.app.tap",
    "A SIMPLE service: SIP presence, registrar and XCAP.",
    "simplestack",
)
