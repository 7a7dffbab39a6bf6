"""Settings, the turn of a request, and the assembly of the service."""
