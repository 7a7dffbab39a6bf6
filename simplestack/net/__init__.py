"""The only place that opens sockets: SIP over UDP, TCP and TLS, and the lookups of RFC 3263."""
