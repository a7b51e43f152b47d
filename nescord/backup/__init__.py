"""Backups: snapshots of the database as packs of its pages, proven by reading them back (docs/backup-format.md)."""
