"""One theta-step and what it is made of: optimizers, schedules, averages, devices."""
