"""The TypeScript types, compiled with the official client's, and what stands in them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
import pytest

from rtserver import Event, Server, Socket, event
from rtserver.contracts.typescript import typescript
from tests.contracts import sample

HERE = Path(__file__).parent
COMPILER = HERE / "node_modules/typescript/bin/tsc"
OPTIONS = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext")
STRICTER = ("--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--noPropertyAccessFromIndexSignature")


def compiled(folder: Path, *names: str) -> str:
    """What the compiler has to say about files in ``folder``."""
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    command = ["node", str(COMPILER), *OPTIONS, *STRICTER, *names]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return ran.stdout + ran.stderr


class Answer(msgspec.Struct):
    string: str


class Refusal(msgspec.Struct):
    why: str


class Chat(msgspec.Struct):
    delete: Answer


class string(msgspec.Struct):  # noqa: N801
    value: dict[str, bytes]


class Delete(TypedDict):
    parts: list[string]
    why: Refusal


def types_of(payload: Any, ack: Any = None) -> str:
    io = Server()
    typed: Event[Any, Any] = event("it", payload, ack=ack)

    @io.on(typed)
    def it(socket: Socket, given: Any) -> Any: ...

    return typescript(io)


def test_right_use_compiles_and_every_wrong_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "events.ts").write_text(typescript(sample.io))
    (tmp_path / "use.ts").write_text((HERE / "use.ts").read_text())
    assert compiled(tmp_path, "events.ts", "use.ts") == ""


def test_types_that_do_not_fit_what_is_heard_are_found(tmp_path: Path) -> None:
    (tmp_path / "events.ts").write_text(typescript(sample.io).replace("(message: Message) => void", "() => void"))
    (tmp_path / "use.ts").write_text((HERE / "use.ts").read_text())
    assert "use.ts" in compiled(tmp_path, "events.ts", "use.ts")


def test_the_text_is_the_same_for_another_server_of_the_same_events() -> None:
    assert typescript(sample.create()) == typescript(sample.io)


def test_each_namespace_has_a_pair_of_maps() -> None:
    io = Server()
    for name in ("/", "/chat", "/chat/rooms", "/chat-rooms"):
        io.of(name).emits("hello")
    text = typescript(io)
    for prefix in ("", "Chat", "ChatRooms", "ChatRooms2"):
        assert f"export type {prefix}ServerToClientEvents = {{\n" in text
        assert f"export type {prefix}ClientToServerEvents = {{}};\n" in text


def test_an_unused_main_namespace_has_none() -> None:
    io = Server()
    io.of("/chat").emits("hello")
    assert "type ServerToClientEvents" not in typescript(io)
    assert "type ServerToClientEvents = {};" in typescript(Server())


def test_names_that_typescript_has_already_are_not_taken(tmp_path: Path) -> None:
    io = Server()
    chat = io.of("/chat")

    @chat.on(event("delete", Delete, ack=Chat))
    def delete(socket: Socket, it: Delete) -> Chat:
        raise NotImplementedError

    chat.emits(event("answer", Answer))
    (tmp_path / "events.ts").write_text(typescript(io))
    assert compiled(tmp_path, "events.ts") == ""
    text = (tmp_path / "events.ts").read_text()
    assert '"delete": (payload: Delete, ack: (answer: Answer<Chat>) => void) => void;' in text
    assert "export interface Answer2 {\n  string: string;\n}" in text
    assert "export interface String {" in text


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (str, "string"),
        (bool, "boolean"),
        (list[int | None], "(number | null)[]"),
        (dict[str, list[bytes]], "Record<string, Binary[]>"),
        (tuple[int, ...], "number[]"),
        (tuple[int, str], "[number, string]"),
        (Literal["a", 1], '1 | "a"'),
        (Literal["a"] | None, '"a" | null'),
        (Any, "unknown"),
        ({"type": "object"}, "Record<string, unknown>"),
        ({"const": "it"}, '"it"'),
        ({"type": "array", "items": False}, "never[]"),
        ({"allOf": [{"type": "string"}, {"enum": ["a", "b"]}]}, 'string & ("a" | "b")'),
        ({"properties": {"a-b": {"type": "null"}}}, '{\n    "a-b"?: null;\n  }'),
        ({"oneOf": [{"type": "integer"}, {}]}, "unknown"),
        ({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "null"}}, "[string?, ...null[]]"),
    ],
)
def test_a_type_is_written_as(payload: Any, expected: str) -> None:
    assert f'"it": (payload: {expected}, ack?' in types_of(payload)


@pytest.mark.parametrize(
    ("ack", "expected"),
    [
        (str, "Answer<string>"),
        (type(None), "Answer<undefined>"),
        (str | None, "Answer<string | undefined>"),
        (list[str | None], "Answer<(string | null)[]>"),
    ],
)
def test_none_acknowledges_with_nothing(ack: Any, expected: str) -> None:
    assert f"(answer: {expected}) => void" in types_of(int, ack)


def test_what_a_docstring_says_cannot_end_its_comment(tmp_path: Path) -> None:
    io = Server()

    @io.on(event("it"))
    def it(socket: Any) -> None:
        """Ends here: */ throw new Error(); /*"""

    (tmp_path / "events.ts").write_text(typescript(io))
    assert compiled(tmp_path, "events.ts") == ""
    assert "here: *\\/ throw" in (tmp_path / "events.ts").read_text()


def test_bounds_and_defaults_are_in_the_comments() -> None:
    text = typescript(sample.io)
    assert "  /**\n   * What it says.\n   * @maxLength 2000\n   * @minLength 1\n   */\n  text: string;\n" in text
    assert "  /** @default calm */\n  mood?: Mood;\n" in text
    assert "  /** Where it goes, by name; the room must have been joined. */\n  room: string;\n" in text
