"""The settings of the bundled application, which are not the server's.

Rule: without any it keeps everything in one folder, and what must be secret is made up
there once, for its owner alone to read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rtserver.handlers.accounts.http import AccountRates
from rtserver.handlers.accounts.tokens import load_secret
from rtserver.types import Secret

DEFAULT_FOLDER = Path("chat-data")


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Where the application keeps things, and its secrets.

    Args:
        folder: Holds the database and the secret where they are not given. ``RTSERVER_CHAT_FOLDER``.
        database_url: Of PostgreSQL, or a file of SQLite. ``DATABASE_URL``.
        secret: Signs tokens; all nodes need the same. ``RTSERVER_CHAT_SECRET``.
        admin_ui_password: Lets the official admin UI connect, as ``admin`` to the namespace ``/admin-ui``.
            ``RTSERVER_CHAT_ADMIN_UI_PASSWORD``.
        admin_ui_mode: ``production`` counts; ``development`` shows it sockets and events one by one, the words of
            every room among them. ``RTSERVER_CHAT_ADMIN_UI_MODE``.
        admin_password: Makes an account ``admin``, who may see the cluster. ``RTSERVER_CHAT_ADMIN_PASSWORD``.
        rates: Of accounts made and signed in to.
    """

    folder: Path = DEFAULT_FOLDER
    database_url: Secret | None = None
    secret: Secret | None = None
    admin_password: Secret | None = None
    admin_ui_password: Secret | None = None
    admin_ui_mode: str = "production"
    rates: AccountRates = field(default_factory=AccountRates)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ChatSettings:
        """The settings that environment variables give."""

        def secret(name: str) -> Secret | None:
            text = environment.get(name, "")
            return Secret(text) if text else None

        return cls(
            folder=Path(environment.get("RTSERVER_CHAT_FOLDER") or DEFAULT_FOLDER),
            database_url=secret("DATABASE_URL"),
            secret=secret("RTSERVER_CHAT_SECRET"),
            admin_password=secret("RTSERVER_CHAT_ADMIN_PASSWORD"),
            admin_ui_password=secret("RTSERVER_CHAT_ADMIN_UI_PASSWORD"),
            admin_ui_mode=environment.get("RTSERVER_CHAT_ADMIN_UI_MODE") or "production",
        )

    def where(self) -> str:
        """The URL of the database."""
        if self.database_url is not None:
            return self.database_url.reveal()
        return f"sqlite:///{self.folder.absolute() / 'chat.db'}"

    def signing_secret(self) -> str:
        """The secret that signs tokens, made up if there is none.

        Raises:
            OSError: The folder cannot be written to.
            ConfigurationError: What the file holds is too short.
        """
        return load_secret(self.folder / "secret") if self.secret is None else self.secret.reveal()
