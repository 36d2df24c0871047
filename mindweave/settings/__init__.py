"""The settings of MindWeave, all from the environment (docs/configuration.md lists each).

Those of signing in and of the usage engine have modules of their own; all are names of ``mindweave.settings``.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from mindweave.env import celery_redis_url, env_bool, env_int, env_list, env_value, redis_url
from mindweave.process import name_processes_of_metrics
from mindweave.settings.identity import *  # noqa: F403
from mindweave.settings.usage import *  # noqa: F403

BASE_DIR = Path(__file__).resolve().parent.parent.parent

# ------------------------------------------------------------------ what kind of place this is
# "production" refuses to start without its secrets; "development" makes do and offers /dev/.
MINDWEAVE_ENV = env_value("MINDWEAVE_ENV", "production")
if MINDWEAVE_ENV not in {"production", "development"}:
    raise ImproperlyConfigured(f"MINDWEAVE_ENV must be production or development, not {MINDWEAVE_ENV!r}")
DEVELOPMENT = MINDWEAVE_ENV == "development"
DEBUG = env_bool("MINDWEAVE_DEBUG", False)
DATA_DIR = Path(env_value("MINDWEAVE_DATA_DIR", "var"))
if not DATA_DIR.is_absolute():
    DATA_DIR = BASE_DIR / DATA_DIR
HOST = env_value("MINDWEAVE_HOST", "127.0.0.1")
PORT = env_int("MINDWEAVE_PORT", 8000)
PUBLIC_URL = env_value("MINDWEAVE_PUBLIC_URL", f"http://{'localhost' if HOST == '127.0.0.1' else HOST}:{PORT}")

# ------------------------------------------------------------------ secrets
_DEVELOPMENT_SECRET = "insecure-development-only-" + "x" * 40
SECRET_KEY = env_value("SECRET_KEY", _DEVELOPMENT_SECRET if DEVELOPMENT else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY (or SECRET_KEY_FILE) is not set; it must be a long random string")
SECRET_KEY_FALLBACKS = env_list("SECRET_KEY_FALLBACKS")
# The first encrypts or hashes, all decrypt or verify; without them both derive from SECRET_KEY.
FIELD_ENCRYPTION_KEYS = env_list("FIELD_ENCRYPTION_KEYS")
TOKEN_PEPPERS = env_list("TOKEN_PEPPERS")
METRICS_TOKEN = env_value("METRICS_TOKEN")

ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "*" if DEVELOPMENT else "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", PUBLIC_URL if PUBLIC_URL.startswith("https://") else "")
TRUSTED_PROXY_HOPS = env_int("TRUSTED_PROXY_HOPS", 1)

# ------------------------------------------------------------------ applications, lowest layer last
MINDWEAVE_APPS = [
    "apps.analytics",
    "apps.usage",
    "apps.sso",
    "apps.projects",
    "apps.teams",
    "apps.accounts",
    "apps.identity",
    "apps.notify",
    "apps.scheduler",
    "apps.audit",
    "apps.events",
    "apps.core",
]
INSTALLED_APPS = [
    *MINDWEAVE_APPS,
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.postgres",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_otp",
    "guardian",
    "django_celery_beat",
    "django_htmx",
    "django_cotton.apps.SimpleAppConfig",
]
MIDDLEWARE = [
    "apps.core.middleware.RequestContextMiddleware",
    "apps.core.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.identity.middleware.SignInMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "apps.core.middleware.ProblemMiddleware",
    "apps.core.middleware.AdminScopeMiddleware",
    "apps.accounts.middleware.OrgMiddleware",
]
ROOT_URLCONF = "mindweave.urls"
WSGI_APPLICATION = "mindweave.wsgi.application"
ASGI_APPLICATION = "mindweave.asgi.application"
APPEND_SLASH = False

# ------------------------------------------------------------------ PostgreSQL and Redis
DATABASE_URL = env_value("DATABASE_URL", "postgres://postgres@localhost:5432/mindweave")
DATABASES: dict[str, Any] = {"default": environ.Env.db_url_config(DATABASE_URL)}
DATABASES["default"] |= {
    # A socket directory comes percent-encoded in the place of the host.
    "HOST": unquote(DATABASES["default"].get("HOST") or ""),
    "ENGINE": "apps.core.postgresql",
    "CONN_MAX_AGE": env_int("DATABASE_CONN_MAX_AGE", 600),
    "CONN_HEALTH_CHECKS": True,
    "ATOMIC_REQUESTS": False,
}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"].setdefault("application_name", "mindweave")
DATABASES["default"]["OPTIONS"].setdefault("connect_timeout", 5)
# Statements are planned once where they say so, never by being repeated. Without a number none is.
DATABASES["default"]["OPTIONS"].setdefault("prepare_threshold", 2**31)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env_value("REDIS_URL", "redis://localhost:6379")
CACHES = {
    "default": {
        "BACKEND": "apps.core.cache.Cache",
        "LOCATION": redis_url(REDIS_URL, 2),
        "OPTIONS": {"socket_timeout": 0.25, "socket_connect_timeout": 0.25},
        "KEY_PREFIX": "mw",
        "TIMEOUT": 300,
    }
}
RATE_LIMIT_REDIS_URL = redis_url(REDIS_URL, 4)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [{"address": redis_url(REDIS_URL, 1), "socket_timeout": 1.0, "socket_connect_timeout": 1.0}],
            "prefix": "mw",
        },
    }
}

# ------------------------------------------------------------------ Celery
CELERY_BROKER_URL = celery_redis_url(REDIS_URL, 0)
# The same as Redis clients take it.
BROKER_REDIS_URL = redis_url(REDIS_URL, 0)
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 3600
CELERY_TASK_SOFT_TIME_LIMIT = 3500
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 4 * 3600, "socket_timeout": 10}
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
DJANGO_CELERY_BEAT_TZ_AWARE = True

# ------------------------------------------------------------------ signing in (the rest is in identity.py)
SESSION_COOKIE_NAME = "mw_session"
# A sign-in in a browser ends when it is not used for so long, and so long after it began whatever its use.
SESSION_IDLE = timedelta(hours=env_int("MINDWEAVE_SESSION_IDLE_HOURS", 72))
SESSION_LONGEST = timedelta(hours=env_int("MINDWEAVE_SESSION_LONGEST_HOURS", 14 * 24))
SESSION_COOKIE_AGE = int(SESSION_LONGEST.total_seconds())
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "mw_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "apps.core.middleware.csrf_failure"
JWT_ISSUER = PUBLIC_URL

# ------------------------------------------------------------------ the API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.projects.authentication.ApiKeyAuthentication",
        "apps.identity.authentication.JWTAuthentication",
        "apps.core.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Of one caller (a person, a key without a limit of its own, an address); 0: no limit. Signing in has limits of its own.
API_REQUESTS_PER_MINUTE = env_int("API_REQUESTS_PER_MINUTE", 600)
MAX_BODY_BYTES = env_int("MAX_BODY_BYTES", 10 * 1024 * 1024)
MAX_INFLATED_BYTES = env_int("MAX_INFLATED_BYTES", 64 * 1024 * 1024)
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "MindWeave",
    "VERSION": "1",
    "DESCRIPTION": "The control plane for an organisation's use of Claude. Errors are RFC 9457 problem details; "
    "lists are pages with `next_cursor`; money is decimal strings in USD; time is RFC 3339 in UTC.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    # What a PATCH needs is what its serializer says, not nothing.
    "COMPONENT_SPLIT_PATCH": False,
    "SCHEMA_PATH_PREFIX": "",
    "ENUM_NAME_OVERRIDES": {
        "ImportStateEnum": "apps.usage.models.imports.Import.State",
        "ImportOriginEnum": "apps.usage.models.imports.Import.Origin",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.core.openapi.add_documented",
    ],
}

# ------------------------------------------------------------------ single sign-on
# Name servers that are asked for the records that prove a domain (address or address:port); empty: the system's.
SSO_DNS_SERVERS = env_list("SSO_DNS_SERVERS")
# For how long a domain stays proved while its record is missing.
SSO_DOMAIN_GRACE_DAYS = env_int("SSO_DOMAIN_GRACE_DAYS", 7)
# After how many hours without a provider's metadata those who manage single sign-on are told.
SSO_METADATA_ALARM_HOURS = env_int("SSO_METADATA_ALARM_HOURS", 24)

# ------------------------------------------------------------------ upstreams
ANTHROPIC_UPSTREAM_URL = env_value("ANTHROPIC_UPSTREAM_URL", "https://api.anthropic.com")
ANTHROPIC_UPSTREAM_KEY = env_value("ANTHROPIC_UPSTREAM_KEY")
# Addresses outside the public internet that outgoing calls may reach all the same (CIDR or host names).
OUTBOUND_ALLOWED_HOSTS = env_list("OUTBOUND_ALLOWED_HOSTS")

# ------------------------------------------------------------------ mail
_EMAIL_URL = env_value("EMAIL_URL")
if _EMAIL_URL:
    vars().update(environ.Env.email_url_config(_EMAIL_URL))
else:
    EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
# Nobody signs in by a password before the link in their mail was opened. Without a way to send mail nobody could.
VERIFY_ADDRESSES = env_bool("MINDWEAVE_VERIFY_ADDRESSES", bool(_EMAIL_URL))
DEFAULT_FROM_EMAIL = env_value("DEFAULT_FROM_EMAIL", "MindWeave <no-reply@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
MINDWEAVE_DEV_MAILBOX = env_bool("MINDWEAVE_DEV_MAILBOX", DEVELOPMENT)

# ------------------------------------------------------------------ templates, static files, language, time
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.accounts.web.shell",
            ],
            "builtins": [
                "django_cotton.templatetags.cotton",
                "django.templatetags.static",
                "apps.core.templatetags.mw",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django_cotton.cotton_loader.Loader",
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
INSTALLED_APPS.append("django.forms")
COTTON_DIR = "cotton"
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = Path(env_value("STATIC_ROOT", str(DATA_DIR / "static")))
_COLLECTED = (STATIC_ROOT / "staticfiles.json").exists()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Hashed names and compressed copies once `collectstatic` has run; before that, straight out of the source tree.
    "staticfiles": {"BACKEND": "apps.core.web.storage.StaticStorage"},
}
WHITENOISE_USE_FINDERS = not _COLLECTED
WHITENOISE_MANIFEST_STRICT = False
MEDIA_ROOT = DATA_DIR / "media"
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = "mindweave.formats"

# ------------------------------------------------------------------ the staff admin's looks
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "MindWeave staff",
    "SITE_HEADER": "MindWeave staff",
    "SITE_ICON": lambda request: static("img/mark.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/mark.svg")}],
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda request: static("css/staff.css")],
    "SIDEBAR": {
        "navigation": "mindweave.admin_navigation.navigation", "show_all_applications": True, "show_search": True,
    },
    "COLORS": {
        "primary": {
            "50": "#eef3fb", "100": "#e6eefa", "200": "#c9d9f2", "300": "#9fbbe8", "400": "#6a93d6", "500": "#5284d2",
            "600": "#1f55a8", "700": "#1a488f", "800": "#173c77", "900": "#143362", "950": "#0e2344",
        }
    },
}  # fmt: skip

# ------------------------------------------------------------------ security
_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = _HTTPS
if _HTTPS:
    # The browser itself holds these names to this host alone, over HTTPS (RFC 6265bis, section 4.1.3.2).
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"__Host-{SESSION_COOKIE_NAME}", f"__Host-{CSRF_COOKIE_NAME}"
CSRF_COOKIE_SECURE = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_HOPS else None
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS: list[str] = []

# For how many days entries of the audit trail are kept, in whole months; never less than 90.
AUDIT_RETENTION_DAYS = max(90, env_int("AUDIT_RETENTION_DAYS", 400))
# All organisations' entries, for whoever runs this: a webhook or a syslog receiver, as an organisation's own stream.
AUDIT_STREAM_URL = env_value("AUDIT_STREAM_URL")
AUDIT_STREAM_FORMAT = env_value("AUDIT_STREAM_FORMAT", "json")
AUDIT_STREAM_SECRET = env_value("AUDIT_STREAM_SECRET")
AUDIT_STREAM_CA = env_value("AUDIT_STREAM_CA")
AUDIT_RETENTION_LEAST_DAYS = max(30, env_int("AUDIT_RETENTION_LEAST_DAYS", 90))

# For how many minutes after a credential was shown what is sensitive may be done.
STEP_UP_MINUTES = env_int("MINDWEAVE_STEP_UP_MINUTES", 15)
# For how long staff may be in a member's place, at most.
IMPERSONATION_MINUTES = env_int("MINDWEAVE_IMPERSONATION_MINUTES", 30)

# ------------------------------------------------------------------ the life of an organisation
# How long an invitation can be accepted.
INVITATION_DAYS = env_int("MINDWEAVE_INVITATION_DAYS", 7)
# How long a deleted organisation can be restored before it is erased; how long its export can be fetched.
ORG_GRACE_DAYS = env_int("MINDWEAVE_ORG_GRACE_DAYS", 30)
ORG_EXPORT_DAYS = env_int("MINDWEAVE_ORG_EXPORT_DAYS", 7)

# ------------------------------------------------------------------ metrics, logs and traces
# prometheus_client reads it when it is imported, and settings come before everything else.
METRICS_DIR = DATA_DIR / "metrics"
METRICS_DIR.mkdir(parents=True, exist_ok=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(METRICS_DIR)
name_processes_of_metrics()
LOG_LEVEL = env_value("LOG_LEVEL", "INFO").upper()
LOG_FORMAT = env_value("LOG_FORMAT", "console" if DEVELOPMENT else "json")
OTEL_EXPORTER_OTLP_ENDPOINT = env_value("OTEL_EXPORTER_OTLP_ENDPOINT")
LOGGING_CONFIG = None
