"""The web proxy: trials over plain HTTP and JSON."""
