from __future__ import annotations

import os
import re

from rtserver.entropy import POOL_SIZE, random_bytes, random_id


def test_no_byte_is_given_out_twice() -> None:
    given = [random_bytes(25) for _ in range(1_000)]
    assert all(len(one) == 25 for one in given)
    assert len(set(given)) == 1_000
    # Neither do two of them overlap: no run of eight bytes comes again.
    runs = [one[start : start + 8] for one in given for start in range(18)]
    assert len(set(runs)) == len(runs)


def test_more_than_the_pool_holds_can_be_had() -> None:
    assert len(random_bytes(POOL_SIZE + 1)) == POOL_SIZE + 1
    assert len(random_bytes(7)) == 7


def test_ids_have_the_form_of_the_standard_library() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{20}", random_id(15))
    assert re.fullmatch(r"[A-Za-z0-9_-]{34}", random_id(25))


def test_a_forked_child_never_repeats_its_parent() -> None:
    random_bytes(16)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, random_bytes(16))
        os._exit(0)
    os.close(writer)
    mine = random_bytes(16)
    with os.fdopen(reader, "rb") as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    assert len(theirs) == 16
    assert theirs != mine
