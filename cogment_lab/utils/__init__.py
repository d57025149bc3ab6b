"""What Cogment Lab 0.1.5 kept under this name."""
