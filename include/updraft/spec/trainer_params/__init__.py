"""What each trainer's ``params`` may say; :mod:`updraft.spec.trainers` has them by name."""
