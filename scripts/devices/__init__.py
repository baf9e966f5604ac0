"""Proofs on devices that are not here: emulated ARM, other kernels, a microcontroller's library.

``python -m scripts.devices.run`` runs them all; docs/devices.md says what each one shows.
"""
