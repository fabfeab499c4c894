"""HTTP/1.1 under Twisted's interfaces: server channel, client agent, pool, header fields."""
