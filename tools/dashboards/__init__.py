"""Writes etc/grafana/dashboards: ``python -m tools.dashboards`` (``make dashboards``)."""
