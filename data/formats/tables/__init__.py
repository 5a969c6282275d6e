"""Tables: files of columns, one or several joined, and how their columns become arrays."""
