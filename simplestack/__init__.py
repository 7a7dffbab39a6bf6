"""A complete SIMPLE service: SIP presence and instant messaging on Twisted."""

__version__ = "0.1.0"
