"""SIP events (RFC 6665) over the state of one address-of-record."""
