"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On a busy machine one slow example says nothing about the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("house")
