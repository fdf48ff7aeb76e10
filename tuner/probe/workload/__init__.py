"""What is sent, and when: requests by lengths, prefixes, conversations and traces, drawn fresh for every level."""
