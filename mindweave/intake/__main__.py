"""``python -m mindweave.intake HOST:PORT``."""

import argparse

# It loads the applications, which the rest needs.
from mindweave.wsgi import application  # isort: split

from mindweave.intake.server import serve


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description="The server that takes events in.")
    parser.add_argument("listen", help="host:port")
    serve(parser.parse_args().listen, application)


if __name__ == "__main__":
    main()
