"""The frames that the gateway writes by itself are those of the WebSocket library."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from gateway.server import _text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("letter", ["a", "é", "🎉"])
def test_a_text_frame_is_what_the_library_writes(size: int, letter: str) -> None:
    text = letter * (size // len(letter.encode()))
    text += "a" * (size - len(text.encode()))
    assert _text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
