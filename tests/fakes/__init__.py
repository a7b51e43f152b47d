"""Servers that speak the protocol of a service elsewhere, for real clients: nothing of ours or theirs is patched."""
