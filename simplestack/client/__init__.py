"""A small user agent on the same floors: the other end of every flow."""
