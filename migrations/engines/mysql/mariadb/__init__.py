"""What only MariaDB does in this way."""
