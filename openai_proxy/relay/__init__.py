"""Bytes between two sockets: treq client, download, tunnel."""
