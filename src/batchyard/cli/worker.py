"""`batchyard worker`: one more worker."""

from batchyard.cli import options, services, session


def worker(*, data_dir: options.DataDir = None) -> None:
    """Run a worker; start as many as you like, on as many machines."""
    services.run(session.configure(data_dir=data_dir), [services.work])
