"""The documents of a server that runs, for whoever asks for them.

Rule: they are made again only when something has been registered since.
"""

from __future__ import annotations

import json

from rtserver.contracts.asyncapi import document
from rtserver.contracts.contract import Contract, contract_of
from rtserver.contracts.page import page
from rtserver.server import Server


class Published:
    """The documents of ``server``."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._contract: Contract | None = None
        self._page = b""
        self._document = b""

    def page(self) -> bytes:
        """The page, in UTF-8. Raises ``ConfigurationError`` where a payload's type has no JSON Schema."""
        self._renew()
        return self._page

    def document(self) -> bytes:
        """The AsyncAPI document, as JSON. Raises as ``page`` does."""
        self._renew()
        return self._document

    def _renew(self) -> None:
        contract = contract_of(self._server)
        if contract == self._contract:
            return
        self._page = page(contract).encode()
        self._document = json.dumps(document(contract), ensure_ascii=False, separators=(",", ":")).encode()
        self._contract = contract
