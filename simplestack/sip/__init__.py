"""The SIP grammar: bytes to messages and back, with no behaviour."""
