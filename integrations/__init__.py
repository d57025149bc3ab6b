"""What connects trials to the libraries that researchers already use; imported as ``cogment_lab.integrations``."""
