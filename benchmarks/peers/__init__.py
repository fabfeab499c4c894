"""The proxies that are measured: how each is started, and what it wants to see in a request."""

from benchmarks.peers.catalogue import OURS, PEERS
from benchmarks.peers.peer import INSTALLED, Missing, Peer, Place

__all__ = ["INSTALLED", "OURS", "PEERS", "Missing", "Peer", "Place"]
