"""Where else than at its entry the probe of a wake can be: small pieces of code that differ in one instruction."""

from __future__ import annotations

import pytest

from tracer.model import Register
from tracer.rust.wake_sites import WakeSite, wake_site

AT = 0x1000
INNER = 0x2000
NAME = "tokio::runtime::task::harness::<impl tokio::runtime::task::raw::RawTask>::wake_by_ref"


def names_at(address: int) -> list[str]:
    return [NAME] if address == INNER else []


def loop(more: str = "", before: str = "") -> bytes:
    """The loop of a wake; `more` stands after it, `before` before it."""
    return bytes.fromhex(
        f"{before}"
        "48 8b 07"  # mov rax, [rdi]
        "a8 06"  # again: test al, 6
        "75 0b"  # jne over
        "48 8d 48 44"  # lea rcx, [rax + 0x44]
        "f0 48 0f b1 0f"  # lock cmpxchg [rdi], rcx
        "75 f1"  # jne again
        f"{more}"
        "a8 01"  # over: test al, 1
        "74 01"  # je done
        "90"  # nop
        "c3"  # done: ret
    )


def found(code: bytes) -> WakeSite | None:
    return wake_site(code, AT, names_at)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "nothing"),
        ("48 89 44 24 f8", "mov [rsp - 8], rax"),
        ("48 8d 54 24 f8 48 89 02", "lea rdx, [rsp - 8]; mov [rdx], rax"),
        ("31 c9", "xor ecx, ecx"),
    ],
)
def test_the_jump_after_the_loop_is_passed_once(more: str, words: str) -> None:
    site = AT + 20 + len(bytes.fromhex(more))
    assert found(loop(more)) == WakeSite(site, is_indirect=False, state=Register.RAX), words


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("48 89 f7", "mov rdi, rsi: another header"),
        ("b0 00", "mov al, 0: another state"),
        ("48 89 06", "mov [rsi], rax: perhaps the header"),
        ("48 89 02", "mov [rdx], rax: nobody knows where"),
        ("48 89 07", "mov [rdi], rax: the header"),
        ("f0 48 0f b1 0f", "a second change"),
        ("e8 00 00 00 00", "a call: nothing is left in the registers"),
        ("f0 48 0f c1 07", "lock xadd [rdi], rax"),
    ],
)
def test_what_is_not_sure_is_left_alone(more: str, words: str) -> None:
    assert found(loop(more)) is None, words


def test_a_jump_that_not_all_ways_come_by_is_none() -> None:
    # test esi, esi; je +1; ret; then the loop.
    assert found(loop(before="85 f6 74 01 c3")) is None


def test_a_jump_of_the_loop_itself_is_none() -> None:
    # again: mov rax, [rdi]; test al, 2; jne again; ret
    assert found(bytes.fromhex("48 8b 07 a8 02 75 f9 c3")) is None


def test_a_state_that_was_not_loaded_is_none() -> None:
    # lock cmpxchg [rdi], rcx; jne, back; test al, 1; je +1; nop; ret
    assert found(bytes.fromhex("f0 48 0f b1 0f 75 f9 a8 01 74 01 90 c3")) is None


def test_the_call_that_wakes_is_the_place() -> None:
    # sub rsp, 0x18; mov [rsp], rdi; mov rdi, rsp; call INNER; add rsp, 0x18; ret
    before = bytes.fromhex("48 83 ec 18 48 89 3c 24 48 89 e7")
    call = b"\xe8" + (INNER - AT - len(before) - 5).to_bytes(4, "little", signed=True)
    assert found(before + call + bytes.fromhex("48 83 c4 18 c3")) == WakeSite(AT + len(before), True, None)
    other = b"\xe8" + (INNER + 16 - AT - len(before) - 5).to_bytes(4, "little", signed=True)
    assert found(before + other + bytes.fromhex("48 83 c4 18 c3")) is None
    # cmp esi, 0; je over the call
    skipping = bytes.fromhex("83 fe 00 74 05")
    call = b"\xe8" + (INNER - AT - len(before + skipping) - 5).to_bytes(4, "little", signed=True)
    assert found(before + skipping + call + bytes.fromhex("48 83 c4 18 c3")) is None


def test_code_that_is_cut_off_is_none() -> None:
    assert found(loop()[:-1]) is None
    assert found(b"") is None
