"""The roles of the service: each decides what a request changes and what is sent."""
