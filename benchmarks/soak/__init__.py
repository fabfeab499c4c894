"""A daemon under mixed traffic with faults for minutes or hours: what it leaves behind is counted."""
