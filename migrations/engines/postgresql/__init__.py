"""PostgreSQL: changes are made online, without blocking writes, where possible."""
