"""Serve the provider: `python tests/e2e/oauth_server DATABASE`. Prints its port, and ends when standard input does."""

import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler


class Quiet(WSGIRequestHandler):
    """Logs nothing and asks no resolver who is calling."""

    def log_message(self, *_):
        pass

    def address_string(self):
        return self.client_address[0]


def main():
    os.environ["OAUTH_SERVER_DATABASE"] = sys.argv[1]
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

    import django  # noqa: PLC0415 - Django reads the environment when it is imported
    from django.conf import settings  # noqa: PLC0415 - as above
    from django.core.management import call_command  # noqa: PLC0415 - as above
    from django.core.servers.basehttp import ThreadedWSGIServer  # noqa: PLC0415 - as above
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415 - as above

    django.setup()
    ThreadedWSGIServer.request_queue_size = 256
    call_command("migrate", run_syncdb=True, verbosity=0)
    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(get_wsgi_application())
    # As with the login URL, people are at another site than the gateway's 127.0.0.1.
    settings.OAUTH2_PROVIDER["OAUTH_DEVICE_VERIFICATION_URI"] = f"http://localhost:{server.server_port}/o/device/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)  # noqa: T201 - how the parent learns it
    sys.stdin.read()


if __name__ == "__main__":
    main()
