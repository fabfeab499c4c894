"""Bytes between two sockets: treq client, upload, download."""
