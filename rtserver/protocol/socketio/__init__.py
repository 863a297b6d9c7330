"""Socket.IO protocol v5 without I/O: packets, and the two parsers that write and read them."""
