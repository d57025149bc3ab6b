"""The rules of a trial, with no socket and no thread, and the embedded driver that applies them."""
