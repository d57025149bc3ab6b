"""PettingZoo views of a Gymnasium environment with a teacher or an observer."""
