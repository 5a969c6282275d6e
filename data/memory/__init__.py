"""Arrays larger than memory: spooled to files, mapped, and gone through in blocks."""
