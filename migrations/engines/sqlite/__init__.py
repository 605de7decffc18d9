"""SQLite: BEGIN IMMEDIATE is the lock; definitions are rewritten, tables rebuilt."""
