"""Human-in-the-loop algorithms on Stable-Baselines3's classes, one file each."""
