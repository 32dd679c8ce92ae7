"""`batchyard worker`: one more worker."""

import errno

from prometheus_client import start_http_server

from batchyard.cli import options, services, session
from batchyard.errors import ConfigError


def worker(*, data_dir: options.DataDir = None) -> None:
    """Run a worker; start as many as you like, on as many machines."""
    settings = session.configure(data_dir=data_dir)
    if settings.metrics_port is not None:
        _tell_metrics(settings.host, settings.metrics_port)
    services.run(settings, [services.work])


def _tell_metrics(host: str, port: int) -> None:
    """Tell metrics to whoever asks; raise `ConfigError` when the address cannot be listened on."""
    try:
        start_http_server(port, addr=host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} of {host} is in use. Stop what listens there, or set "
                "BATCHYARD_METRICS_PORT to another for each worker of a machine."
            ) from error
        raise ConfigError(
            f"Metrics cannot be told on port {port} of {host}: {error.strerror}. Set "
            "BATCHYARD_METRICS_PORT to another port, or BATCHYARD_HOST to an address of this "
            "machine."
        ) from error
    except UnicodeError as error:
        raise ConfigError(
            f"Metrics cannot be told on {host}: that is no valid name. Set BATCHYARD_HOST to an "
            "address of this machine."
        ) from error
