"""What happened: endpoint, outcome, record, and the sinks made from records."""
