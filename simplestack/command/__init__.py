"""The ``simplestack`` command line: one subcommand a module."""
