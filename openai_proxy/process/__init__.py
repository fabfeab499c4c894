"""The daemon as a process among others: its sockets, its signals, its supervisor, its workers."""
