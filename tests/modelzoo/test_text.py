"""Text appears as soon as it is sure, and never a part of a stop string or of a character."""

from __future__ import annotations

from modelzoo.data.documents import tokenizer
from modelzoo.generation.text import TextStream


def shown(text: str, stop: tuple[str, ...] = ()) -> list[str]:
    """The pieces of a text that arrives token by token, until it stops."""
    stream = TextStream(tokenizer(), stop)
    tokens = tokenizer().encode(text)
    pieces = []
    for end in range(1, len(tokens) + 1):
        stopped = stream.ends(tokens[:end])
        pieces.append(stream.take(finished=stopped or end == len(tokens)))
        if stopped:
            break
    return pieces


def test_pieces_add_up_to_the_text() -> None:
    text = "A section streams tiles; é and 漢字 take several bytes."
    pieces = shown(text)
    assert "".join(pieces) == text
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces)
    assert len([piece for piece in pieces if piece]) > 5


def test_a_stop_string_ends_the_text_and_is_not_shown() -> None:
    pieces = shown("one two ENDING three", stop=("ENDING", "four"))
    assert "".join(pieces) == "one two "


def test_what_may_begin_a_stop_string_is_held_back_until_it_is_clear() -> None:
    pieces = shown("abc EN xyz", stop=("ENDING",))
    assert "".join(pieces) == "abc EN xyz"
    so_far = ["".join(pieces[:count]) for count in range(1, len(pieces))]
    assert not any(text.endswith(("E", "EN")) for text in so_far)


def test_the_tokenizer_writes_every_text() -> None:
    for text in ("plain", "tabs\tand\nlines", "emoji 🙂", "\x00\x7f"):
        assert tokenizer().decode(tokenizer().encode(text)) == text


def test_a_character_that_stays_unfinished_is_shown_as_the_tokenizer_shows_it() -> None:
    words = tokenizer()
    [*whole, first, _, _] = next(tokens for tokens in [words.encode("a 🙂")] if len(tokens) > 3)[-4:]
    stream, tokens = TextStream(words), [*whole, first]
    pieces = []
    for end in range(1, len(tokens) + 1):
        stream.ends(tokens[:end])
        pieces.append(stream.take(finished=end == len(tokens)))
    assert "".join(pieces) == words.decode(tokens) and pieces[-1].endswith("\N{REPLACEMENT CHARACTER}")
