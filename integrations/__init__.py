"""What connects trials to the libraries that researchers already use."""
