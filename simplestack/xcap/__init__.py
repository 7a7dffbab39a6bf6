"""XCAP (RFC 4825) without HTTP and without a store."""
