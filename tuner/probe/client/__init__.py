"""The streaming client: a driver, the processes that send, and the sockets, responses and events under them."""
