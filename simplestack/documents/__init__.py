"""The XML and MIME documents of SIMPLE, one type per file: bytes to values and back."""
