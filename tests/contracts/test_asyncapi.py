"""The AsyncAPI document: valid, complete, and the same whenever it is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rtserver.contracts.asyncapi import asyncapi
from tests.contracts import sample

SPECIFICATION = Path(__file__).parent / "node_modules/@asyncapi/specs/schemas/3.0.0.json"


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(asyncapi(sample.io))


def test_it_is_valid(document: Any) -> None:
    specification = json.loads(SPECIFICATION.read_text())
    jsonschema.Draft7Validator(specification).validate(document)
