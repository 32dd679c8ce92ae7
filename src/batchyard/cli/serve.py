"""`batchyard serve`: the server without a worker."""

from batchyard.cli import options, services, session


def serve(
    *,
    host: options.Host = None,
    port: options.Port = None,
    data_dir: options.DataDir = None,
) -> None:
    """Run the web server only; workers run beside it."""
    settings = session.configure(host=host, port=port, data_dir=data_dir)
    with services.listening(settings) as (settings, web):
        services.run(settings, [web])
