"""All state of a trainer, saved and put back between two events."""

import functools


def state(trainer):
    """Return all of a trainer: its variables by reference, and its counters."""
    variables = [*trainer.store.variables]
    for member in trainer.members:
        variables += [*member.model.variables, *member.optimizer.variables, *member.ema.variables]
        for part in (member.scores, member.replay):
            variables += part.variables if part else []
    return variables, (trainer.step, trainer.lambda_steps)


def snapshot(trainer):
    """Return copies of it."""
    variables, counters = state(trainer)
    unreported = [member.theta.unreported.copy() for member in trainer.members]
    return [*unreported, *(v.numpy().copy() for v in variables)], counters


def restore(trainer, saved):
    """Put a `snapshot` back."""
    trainer.step, trainer.lambda_steps = saved[1]
    values = iter(saved[0])
    for member in trainer.members:
        member.theta.unreported = next(values).copy()
    for variable, value in zip(state(trainer)[0], values, strict=True):
        variable.assign(value)


def shared(make):
    """Return what `make` makes, once for the same arguments, put back to its start at each call.

    To compile the functions of a trainer takes seconds. Only one test at a time can have it.
    """

    @functools.cache
    def built(*arguments):
        trainer = make(*arguments)
        return trainer, snapshot(trainer)

    def fresh(*arguments):
        trainer, start = built(*arguments)
        restore(trainer, start)
        for member in trainer.members:
            member.theta.forget()
        return trainer

    return fresh
