"""The directory: where services register and are found."""
