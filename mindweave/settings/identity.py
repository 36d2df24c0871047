"""Who somebody is: passwords, tokens, second factors, and the providers people sign in with."""

from datetime import timedelta

from mindweave.env import env_bool, env_int, env_value

AUTH_USER_MODEL = "identity.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
# Nobody who has not signed in has a right on anything, so guardian makes no person to stand for them.
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
GUARDIAN_MONKEY_PATCH_GROUP = False
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "apps.identity.strength.LeakedPasswordValidator"},
    {"NAME": "apps.identity.strength.StrengthValidator"},
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
JWT_ACCESS_LIFETIME = timedelta(minutes=5)
JWT_REFRESH_LIFETIME = timedelta(days=30)
# However often it is refreshed, a sign-in over the API ends so long after it began.
API_SIGN_IN_LONGEST = timedelta(days=env_int("MINDWEAVE_API_SIGN_IN_DAYS", 90))
# A table of countries in MaxMind's format, for the place of a sign-in; without it places are not told.
GEOIP_COUNTRY_FILE = env_value("GEOIP_COUNTRY_FILE")
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "none"
MFA_ADAPTER = "apps.identity.mfa.MfaAdapter"
MFA_TOTP_ISSUER = "MindWeave"
OTP_TOTP_ISSUER = "MindWeave"

# ------------------------------------------------------------------ sign-in with a provider (docs/identity-factors.md)
# Offered where both halves of its client are set.
_GITHUB_URL = env_value("GITHUB_URL", "https://github.com").rstrip("/")
_MICROSOFT_URL = f"https://login.microsoftonline.com/{env_value('MICROSOFT_TENANT', 'common')}"
OAUTH_PROVIDERS: dict[str, dict[str, str]] = {
    "google": {
        "client_id": env_value("GOOGLE_CLIENT_ID"),
        "client_secret": env_value("GOOGLE_CLIENT_SECRET"),
        "authorize_url": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_url": "https://oauth2.googleapis.com/token",
        "jwks_url": "https://www.googleapis.com/oauth2/v3/certs",
        "issuer": "https://accounts.google.com",
    },
    "github": {
        "client_id": env_value("GITHUB_CLIENT_ID"),
        "client_secret": env_value("GITHUB_CLIENT_SECRET"),
        "authorize_url": f"{_GITHUB_URL}/login/oauth/authorize",
        "token_url": f"{_GITHUB_URL}/login/oauth/access_token",
        "api_url": env_value("GITHUB_API_URL", "https://api.github.com").rstrip("/"),
    },
    "microsoft": {
        "client_id": env_value("MICROSOFT_CLIENT_ID"),
        "client_secret": env_value("MICROSOFT_CLIENT_SECRET"),
        "authorize_url": f"{_MICROSOFT_URL}/oauth2/v2.0/authorize",
        "token_url": f"{_MICROSOFT_URL}/oauth2/v2.0/token",
        "jwks_url": f"{_MICROSOFT_URL}/discovery/v2.0/keys",
        "issuer": "https://login.microsoftonline.com/{tid}/v2.0",
    },
}
# Whether a provider's verified address that is also a verified one of ours is enough to be that person.
OAUTH_LINK_BY_ADDRESS = env_bool("OAUTH_LINK_BY_ADDRESS", False)
