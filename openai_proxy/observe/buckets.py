"""Upper bounds of the histograms, in seconds. They are a contract: a change is in the CHANGELOG."""

INTERVAL_SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
"""Between two events, and for each output token."""
