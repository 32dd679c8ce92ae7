"""`batchyard worker`: one more worker."""

from prometheus_client import start_http_server

from batchyard.cli import options, services, session


def worker(*, data_dir: options.DataDir = None) -> None:
    """Run a worker; start as many as you like, on as many machines."""
    settings = session.configure(data_dir=data_dir)
    if settings.metrics_port is not None:
        start_http_server(settings.metrics_port, addr=settings.host)
    services.run(settings, [services.work])
