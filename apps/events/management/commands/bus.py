import logging
import signal
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from apps.events.dispatcher import Dispatcher

logger = logging.getLogger("apps.events.dispatcher")


class Command(BaseCommand):
    help = "Carry events from the outbox to their subscribers until SIGTERM or SIGINT; several may run at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--threads", type=int, default=4, help="subscriptions worked on at once (default 4)")

    def handle(self, *args: Any, threads: int, **options: Any) -> None:
        dispatcher = Dispatcher(threads=threads)

        def stop(number: int, frame: FrameType | None) -> None:
            dispatcher.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        logger.info("the bus runs")
        dispatcher.run()
        logger.info("the bus has stopped")
