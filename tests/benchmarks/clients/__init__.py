"""Load clients, ours and others, on one stub server that knows when it sent what."""
