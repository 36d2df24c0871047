"""The application as it is served, but for the hashing of passwords, which is meant to be slow.

Only ``benchmarks.signin`` serves it, beside an instance and for as long as it measures.
"""

from django.conf import settings

from mindweave.wsgi import application

__all__ = ["application"]

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
