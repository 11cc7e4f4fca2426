"""From a training request, which is a file, to a model folder: a pure function, resumable, without pickle."""
