"""Engine.IO protocol v4 without I/O: packets, payloads, sessions, and messages made ready."""
