"""Reads files of arrays, which may be damaged or hostile."""
