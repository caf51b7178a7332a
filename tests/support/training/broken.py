"""A module that cannot be loaded, for want of a library."""

raise ImportError("libcublas.so.12: cannot open shared object file")
