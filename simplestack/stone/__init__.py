"""SIMPLEstone: load for a SIP presence server, and what the server made of it.

The server under test is known by SIP and a configuration file alone.  A controller steers loaders,
which register and publish, and handlers, which subscribe and answer every NOTIFY.
"""
