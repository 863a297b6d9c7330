"""Authentication in the handshake: who a socket's user is, until when, and how to say so again."""

from __future__ import annotations

from rtserver.middleware.auth.auth import Auth, User
from rtserver.middleware.auth.jwks import KeySet
from rtserver.middleware.auth.tokens import JWTAuth, TokenAuth

__all__ = ["Auth", "JWTAuth", "KeySet", "TokenAuth", "User"]
