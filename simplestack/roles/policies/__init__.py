"""The composition policies that are shipped besides union, one a file."""
