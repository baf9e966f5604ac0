"""Data sets: where each comes from, its checksums, its cache and its splits."""
