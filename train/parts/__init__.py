"""Blocks that recipes share."""
