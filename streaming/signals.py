"""Django signals about runs, for the code of projects.

    @receiver(run_ended)
    def bill(sender: type[Run], run: Run, **kwargs: object) -> None: ...

Both have the run's row as `run`, read when the signal is sent. They are sent after the
change was committed, on a thread of their own, by the process that made it. Receivers
may use the ORM and may take their time; their errors are logged and affect no run.
"""

from django.dispatch import Signal

#: A process has begun to execute a run.
run_started = Signal()
#: A run has ended: its status is `completed`, `failed` or `cancelled`.
run_ended = Signal()
