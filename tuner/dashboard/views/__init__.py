"""What pages show, taken from the database: plain values, ready to be written, without a word of HTML."""

from __future__ import annotations

#: A table of more is not read; the API has all.
MOST_ROWS = 200
