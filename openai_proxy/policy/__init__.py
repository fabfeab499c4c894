"""Pure decisions: no I/O but the reading of their own data, no clock; the time is a parameter."""
