"""What pages show, taken from the database: plain values, ready to be written, without a word of HTML."""
