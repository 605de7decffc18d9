"""What only MySQL does in this way."""
