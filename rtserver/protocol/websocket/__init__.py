"""RFC 6455 without I/O: frames out, frames in, the opening handshake, and permessage-deflate."""
