"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

# On a busy machine one slow example says nothing about the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("house")


@pytest.fixture
def log_output() -> Iterator[list[Any]]:
    """The log lines of a test, as dictionaries with ``event`` and ``log_level``."""
    with structlog.testing.capture_logs() as lines:
        yield lines
