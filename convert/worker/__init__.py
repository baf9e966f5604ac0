"""Child processes: what they get to do, their limits, and how they answer."""
