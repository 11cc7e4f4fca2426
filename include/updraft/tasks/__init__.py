"""What a task type is: link, losses, metrics, base rate, calibration family, trainers' objectives, and what pages show of it.

There is one module with one object for each type, and :mod:`updraft.tasks.registry` lists them. Every other room asks the object and knows no
task by its name. A new type is a module with a subclass of :class:`updraft.tasks.task_type.TaskType` and a line in the registry; the allowed
values of ``project.yaml`` follow from it.

Nothing here imports more than NumPy before it is called with rows: the trainer's lean image has no SciPy.
"""
