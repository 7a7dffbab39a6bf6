"""The application usages that are shipped, one a file."""
