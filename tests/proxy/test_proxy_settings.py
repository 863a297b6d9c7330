"""Settings, wherever they are given, and one clear line about those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.errors import BadSetting
from proxy.settings import Settings, load
from proxy.values import Address, StaticUpstream
from tests.cluster.support import SECRET
from tests.proxy.processes import run
from tests.proxy.test_proxy_tls import write_certificate

TOML = f"""
listen = ["0.0.0.0:80", "[::]:80"]
secret = "{SECRET}"
upstreams = ["10.0.0.1:8000", "3=10.0.0.2:8000"]
cors = ["https://App.example/"]
trusted = ["10.0.0.0/8", "::1"]
proxy_protocol = true
max_body = 5
head_timeout = 2
affinity = "header:X-Room"
"""


def test_a_file_a_variable_and_a_flag_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(TOML)
    from_file = load(file, {}, {})
    variables = {
        "LISTEN": "0.0.0.0:80, [::]:80",
        "SECRET": SECRET,
        "UPSTREAMS": "http://10.0.0.1:8000, 3=10.0.0.2:8000",
        "CORS": "https://App.example/",
        "TRUSTED": "10.0.0.0/8,::1",
        "PROXY_PROTOCOL": "yes",
        "MAX_BODY": "5",
        "HEAD_TIMEOUT": "2",
        "AFFINITY": "header:X-Room",
    }
    assert load(None, {}, {f"RTSERVER_PROXY_{name}": value for name, value in variables.items()}) == from_file
    assert load(None, {name.lower(): value for name, value in variables.items()}, {}) == from_file
    first, second = Address("10.0.0.1", 8000), Address("10.0.0.2", 8000)
    assert from_file.upstreams == (StaticUpstream(first), StaticUpstream(second, 3))
    assert (from_file.cors, from_file.affinity.header) == (("https://app.example",), b"x-room")


def test_a_flag_wins_over_a_variable_which_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(f'secret = "{SECRET}"\nmax_body = 1\nmax_headers = 1\nmax_head_size = 1\n')
    variables = {"CONFIG": str(file), "MAX_HEADERS": "2", "MAX_HEAD_SIZE": "2"}
    environment = {f"RTSERVER_PROXY_{name}": value for name, value in variables.items()}
    found = load(None, {"max_head_size": "3"}, environment)
    assert (found.max_body, found.max_headers, found.max_head_size) == (1, 2, 3)


def test_what_nodes_know_too_is_set_once_for_both() -> None:
    variables = {
        "RTSERVER_SECRET": f"{SECRET}, {SECRET} of before",
        "RTSERVER_RUN_DIR": "/a",
        "RTSERVER_REDIS_URL": "redis://b",
    }
    found = load(None, {}, variables)
    assert found.secret == (SECRET, f"{SECRET} of before")
    assert (found.run_dir, found.redis_url) == (Path("/a"), "redis://b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen", "8080"),
        ("listen", "localhost:99999"),
        ("listen", ""),
        ("listen", [1]),
        ("tls_listen", "127.0.0.1:443"),
        ("tls_certificate", "/no/such/file"),
        ("secret", "short"),
        ("secret", 5),
        ("redis_url", "localhost"),
        ("upstreams", "10.0.0.1"),
        ("upstreams", "x=10.0.0.1:80"),
        ("upstreams", "70000=10.0.0.1:80"),
        ("upstreams", "10.0.0.1:80,10.0.0.1:80"),
        ("upstreams", "10.0.0.1:0"),
        ("path", "socket.io"),
        ("path", "/a?b"),
        ("affinity", "luck"),
        ("affinity", "header:"),
        ("affinity", "cookie"),
        ("cookie_name", "a b"),
        ("cors", "example.com"),
        ("cors_credentials", "perhaps"),
        ("trusted", "10.0.0.1/8"),
        ("proxy_protocol", True),
        ("max_body", 0),
        ("max_body", True),
        ("max_body", "1e6"),
        ("max_connections", "none"),
        ("head_timeout", -1),
        ("head_timeout", "soon"),
        ("head_timeout", float("nan")),
        ("admin", "0.0.0.0:9000"),
        ("admin", "example.com:9000"),
        ("admin", "a\nb"),
        ("workers", 0),
        ("log_level", "loud"),
        ("no_such_setting", "1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(BadSetting) as caught:
        load(None, {"secret": SECRET, name: value}, {})
    assert "is not allowed; expected " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("secret", "hunter2"), ("redis_url", "//user:hunter2@host")])
def test_a_secret_is_never_repeated(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load(None, {name: value}, {})
    assert "hunter2" not in str(caught.value)


def test_credentials_for_any_origin_are_refused() -> None:
    with pytest.raises(BadSetting, match="cors"):
        load(None, {"secret": SECRET, "cors": "*", "cors_credentials": True}, {})


def test_every_setting_is_described() -> None:
    described = Settings.__doc__ or ""
    assert [name for name in Settings.__dataclass_fields__ if f"        {name}: " not in described] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "many"], "Error: --workers: 'many' is not allowed; expected a whole number of at least 1"),
        (["--set", "max_body"], "Error: --set: 'max_body' is not allowed; expected NAME=VALUE"),
        (["--config", "/no/such/file"], "Error: config: '/no/such/file' is not allowed; expected a TOML file"),
        (["--listen", "192.0.2.1:80"], "Error: cannot listen on 192.0.2.1:80"),
        (["status"], "Error: no proxy answers at "),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    ran = run(tmp_path, *arguments, RTSERVER_SECRET=SECRET)
    assert ran.returncode == 1
    assert ran.stderr.startswith(says)
    assert ran.stderr.count("\n") == 1


def test_without_a_secret_the_start_says_what_is_missing(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "RTSERVER_SECRET" in ran.stderr


def test_a_certificate_without_its_key_is_one_line(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "one")
    (tmp_path / "key.pem").write_text("nonsense")
    settings = [f"--set={name}={value}" for name, value in files.items()]
    ran = run(tmp_path, "--set=tls_listen=127.0.0.1:0", "--listen=127.0.0.1:0", *settings, RTSERVER_SECRET=SECRET)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert ran.stderr.startswith("Error: tls_certificate: ")
