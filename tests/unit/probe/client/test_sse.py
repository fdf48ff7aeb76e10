from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tuner.probe.client.sse import EventParser

STREAM = (
    b'\xef\xbb\xbf: hello\n\ndata: {"a": 1}\n\nevent: x\ndata:two\ndata: lines\nid: 7\n\n\n\n'
    b"retry: 3\n\ndata\n\ndata: [DONE]\n\ndata: cut"
)
EVENTS = [b'{"a": 1}', b"two\nlines", b"", b"[DONE]"]


def parse(chunks: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(at % (len(stream) + 1) for at in cuts), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@settings(deadline=None)
@given(st.lists(st.integers(min_value=0), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
@example([41, 51], b"\r\n")  # between the CR and the LF of two line ends in a row
def test_events_do_not_depend_on_where_the_bytes_are_split(cuts: list[int], newline: bytes) -> None:
    stream = STREAM.replace(b"\n", newline)

    assert parse(cut(stream, cuts)) == EVENTS
    assert parse([bytes([byte]) for byte in stream]) == EVENTS


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=8),
    st.lists(st.integers(min_value=0), max_size=20),
)
def test_every_event_of_a_stream_is_delivered_once_and_in_order(texts: list[str], cuts: list[int]) -> None:
    stream = b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)

    assert parse(cut(stream, cuts)) == [text.encode() for text in texts]


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=8))
def test_garbage_never_breaks_the_parser_and_splits_never_matter(stream: bytes, cuts: list[int]) -> None:
    assert parse(cut(stream, cuts)) == parse([stream])


def test_an_event_is_delivered_as_soon_as_its_blank_line_is_there() -> None:
    parser = EventParser()

    assert parser.feed(b"data: 1\n") == []
    assert parser.feed(b"\n") == [b"1"]
    assert parser.feed(b"data: 2\r\r") == [b"2"]
    assert parser.feed(b"\ndata: 3\r\n\r") == [b"3"]
