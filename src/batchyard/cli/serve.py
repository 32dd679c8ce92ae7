"""`batchyard serve`: the server without a worker."""

from batchyard.cli import options, services, session, web


def serve(
    *,
    host: options.Host = None,
    port: options.Port = None,
    data_dir: options.DataDir = None,
) -> None:
    """Run the web server only; workers run beside it."""
    settings = session.configure(host=host, port=port, data_dir=data_dir)
    with web.listening(settings) as (settings, site):
        services.run(settings, [site])
