"""The settings of a cluster, and that a secret stays one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtserver import Server
from rtserver.config import Config
from rtserver.errors import ConfigurationError
from rtserver.types import Secret

SECRET = "sixteen bytes or more"
OTHER = "another one that is as long"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (SECRET, [SECRET]),
        (f" {SECRET} , {OTHER},", [SECRET, OTHER]),
        ([SECRET, OTHER], [SECRET, OTHER]),
        (Secret(SECRET), [SECRET]),
        ([Secret(OTHER), SECRET], [OTHER, SECRET]),
        (None, []),
        ("", []),
    ],
)
def test_secrets_are_one_or_several(given: Any, expected: list[str]) -> None:
    assert [secret.reveal() for secret in Config.of({"secret": given}).secret] == expected


@pytest.mark.parametrize("given", ["hunter2", [SECRET, "hunter2"], ["hunter2 hunter2", 7], f"{SECRET},hunter2"])
def test_a_secret_that_can_be_guessed_is_refused_without_being_repeated(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret") as refused:
        Config.of({"secret": given})
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(refused.value.given)


def test_no_secret_and_no_password_shows_in_a_configuration() -> None:
    config = Config.of({"secret": [SECRET, OTHER], "redis_url": "redis://:hunter2@127.0.0.1/0"})
    for text in (repr(config), str(config), repr(config.secret), f"{config.redis_url}", str(Server(secret=SECRET))):
        assert SECRET not in text
        assert OTHER not in text
        assert "hunter2" not in text
    assert config.redis_url is not None
    assert config.redis_url.reveal() == "redis://:hunter2@127.0.0.1/0"


def test_secrets_are_equal_when_their_texts_are() -> None:
    assert Secret(SECRET) == Secret(SECRET)
    assert Secret(SECRET) != Secret(OTHER)
    assert Secret(SECRET) != SECRET
    assert len({Secret(SECRET), Secret(SECRET)}) == 1


def test_the_environment_says_which_cluster_a_node_is_in() -> None:
    options = Config.from_environment(
        {
            "RTSERVER_SECRET": f"{SECRET},{OTHER}",
            "RTSERVER_RUN_DIR": "/run/nodes",
            "RTSERVER_REDIS_URL": "redis://127.0.0.1:6379/0",
            "RTSERVER_ADVERTISE": "10.0.0.2:8001",
            "RTSERVER_DRAIN_RATE": "50",
            "RTSERVER_DRAIN_TIMEOUT": "7.5",
        }
    )
    config = Config.of(options)
    assert config.secret == (Secret(SECRET), Secret(OTHER))
    assert config.run_dir == Path("/run/nodes")
    assert config.redis_url == Secret("redis://127.0.0.1:6379/0")
    assert config.advertise == "10.0.0.2:8001"
    assert (config.drain_rate, config.drain_timeout) == (50, 7.5)


def test_empty_variables_are_as_good_as_none() -> None:
    names = ("SECRET", "RUN_DIR", "REDIS_URL", "ADVERTISE")
    assert Config.of(Config.from_environment({f"RTSERVER_{name}": "" for name in names})) == Config()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_dir", 7),
        ("advertise", "nowhere"),
        ("advertise", "host:0"),
        ("advertise", "host:65536"),
        ("advertise", ":8000"),
        ("advertise", "ho\nst:1"),
        ("drain_rate", 0),
        ("drain_rate", 1.5),
        ("drain_timeout", 0),
    ],
)
def test_a_bad_setting_of_a_cluster_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Config.of({name: value})
