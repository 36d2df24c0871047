"""The server that takes events in: ``POST /v1/events`` and ``/v1/track``, on one thread, as one loop of events.

A thread for each request costs more than a small batch itself: it is woken, waits for the interpreter, reads its body,
waits for its turn and for the database, and each of these is a change of threads. Here a request is parsed, computed
with whatever else has come meanwhile (:func:`apps.usage.services.take_batches`), and its commit waited for beside those
of others, without one (docs/decisions/0033).

The loop asks nobody: it goes by what this process remembers of keys, people and prices, which is looked at meanwhile on
a thread. Whatever needs more (an unknown key, a limit that Redis counts, a body that is packed, tracing, a database
that is away) goes through the lane (:mod:`mindweave.lane`) on one of a few threads, and is answered alike.

``python -m mindweave.intake 0.0.0.0:8000`` serves it by itself, behind a front.
"""
