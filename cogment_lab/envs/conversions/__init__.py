"""PettingZoo views of a Gymnasium environment with a teacher or an observer."""

from cogment_lab.envs.conversions.observer import GymObserverAEC, GymObserverParallel
from cogment_lab.envs.conversions.teacher import GymTeacherAEC, GymTeacherParallel

__all__ = ["GymObserverAEC", "GymObserverParallel", "GymTeacherAEC", "GymTeacherParallel"]
