"""Django's PostgreSQL backend with fewer round trips (:mod:`apps.core.postgresql.base`)."""
