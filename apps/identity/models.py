"""People and how they sign in."""

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower
from django_otp.models import Device, DeviceManager, ThrottlingMixin

from apps.core.basemodels import UUIDModel
from apps.core.clock import now
from apps.core.crypto import EncryptedJSONField, EncryptedTextField
from apps.core.ids import UUID7, uuid7

__all__ = ["Challenge", "FactorDevice", "OAuthIdentity", "RefreshToken", "SignIn", "SigningKey", "User", "UserManager",
           "normalise_email"]  # fmt: skip


def normalise_email(email: str) -> str:
    """The one spelling of an address that is stored and compared: trimmed, lower case."""
    return email.strip().lower()


class UserManager(BaseUserManager["User"]):
    """Makes people; used by services and by Django's own commands."""

    use_in_migrations = True

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=normalise_email(username or ""))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=normalise_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin, UUIDModel):  # type: ignore[django-manager-missing]
    """A person. What they may do in an organisation is their membership there (accounts), never a flag here."""

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False, help_text="May enter the staff admin.")
    is_active = models.BooleanField(default=True)
    email_verified_at = models.DateTimeField(null=True, blank=True)
    timezone = models.CharField(max_length=64, blank=True, help_text="IANA name; empty: the organisation's.")
    default_org_id = models.UUIDField(null=True, blank=True)
    date_joined = models.DateTimeField(default=now, editable=False)

    objects = UserManager()

    # Of a row that was read to sign in: whether there is a second factor, as of then, and whether the login policy has
    # to be asked.
    has_second_factor: bool | None = None
    may_be_refused: bool = True

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("email",)
        constraints = (models.UniqueConstraint(Lower("email"), name="identity_user_email_unique"),)

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        self.email = normalise_email(self.email)

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name.split(" ")[0] if self.name else self.email.split("@")[0]


class SignIn(UUIDModel):
    """One sign-in of a person, in a browser or over the API: the one book that says whether it still goes on.

    A cookie session names its row, an access token has its id as ``sid``, refresh tokens belong to it; ending the row
    ends them all at once. ``methods`` is what was shown in it (``password``, ``mfa``, ``passkey``, ``oidc``…), and
    ``authenticated_at`` when that was last done.
    """

    class Kind(models.TextChoices):
        WEB = "web", "Browser"
        API = "api", "API"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_ins")
    kind = models.CharField(max_length=3, choices=Kind.choices, default=Kind.API)
    created_at = models.DateTimeField(default=now, editable=False)
    last_used_at = models.DateTimeField(default=now, help_text="To the minute.")
    expires_at = models.DateTimeField()
    authenticated_at = models.DateTimeField(null=True, blank=True)
    methods = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=40, blank=True)
    ip = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    device = models.CharField(max_length=120, blank=True, help_text="What the user agent says, in words.")
    country = models.CharField(max_length=2, blank=True, help_text="ISO 3166 code; empty where it is not known.")

    class Meta:
        verbose_name = "sign-in"
        indexes = (models.Index(fields=["user", "-last_used_at"], name="identity_sign_in_user"),)

    def __str__(self) -> str:
        return f"{self.user_id} since {self.created_at:%Y-%m-%d %H:%M}"

    def is_live(self, at: datetime) -> bool:
        """Whether it goes on: not ended, within its longest life and, in a browser, used lately enough."""
        if self.ended_at is not None or self.expires_at <= at:
            return False
        return self.kind == self.Kind.API or self.last_used_at + settings.SESSION_IDLE > at


class RefreshToken(UUIDModel):
    """One refresh token, kept as its digest; used once. A second use ends its sign-in (RFC 9700, section 4.14)."""

    family = models.ForeignKey(SignIn, on_delete=models.CASCADE, related_name="tokens")
    digest = models.BinaryField(unique=True, max_length=32)
    created_at = models.DateTimeField(default=now, editable=False)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return str(self.pk)


class SigningKey(UUIDModel):
    """A key pair that signs access tokens (EdDSA). The newest signs, all that are not retired verify."""

    public_jwk = models.JSONField()
    private_pem = EncryptedTextField()
    created_at = models.DateTimeField(default=now, editable=False)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return str(self.pk)


class FactorDevice(ThrottlingMixin, Device):
    """What django-otp sees of a factor that allauth keeps: one store of secrets, and the staff admin asks it too."""

    authenticator = models.OneToOneField("mfa.Authenticator", on_delete=models.CASCADE, related_name="+")
    public_id = models.UUIDField(default=uuid7, db_default=UUID7(), unique=True, editable=False)
    # Of a WebAuthn factor: what its authenticator calls it, and whether it signs in alone.
    credential_id = models.BinaryField(null=True, unique=True, max_length=1023, editable=False)
    is_passkey = models.BooleanField(default=False)

    objects = DeviceManager()

    def get_throttle_factor(self) -> int:
        return 1

    def verify_token(self, token: str) -> bool:
        allowed, _ = self.verify_is_allowed()
        if not allowed:
            return False
        from apps.identity.factors import use_code

        if use_code(self.authenticator_id, token):
            self.throttle_reset()
            return True
        self.throttle_increment()
        return False


class Challenge(UUIDModel):
    """Something begun that is finished once, within minutes: a WebAuthn ceremony, an enrolment, a sign-in elsewhere.

    Its token is kept as a digest, and what the finish is held against (``data``) encrypted.
    """

    digest = models.BinaryField(unique=True, max_length=32)
    purpose = models.CharField(max_length=24)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    data = EncryptedJSONField()
    expires_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["expires_at"], name="identity_challenge_expiry"),)

    def __str__(self) -> str:
        return f"{self.purpose} until {self.expires_at:%H:%M:%S}"


class OAuthIdentity(UUIDModel):
    """A person's account at a sign-in provider, known by the provider's own id for it; the address may change there."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="oauth_identities")
    provider = models.CharField(max_length=20)
    subject = models.CharField(max_length=255)
    email = models.EmailField(max_length=254, help_text="As the provider said it last.")
    created_at = models.DateTimeField(default=now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "OAuth identities"
        ordering = ("provider",)
        constraints = (
            models.UniqueConstraint(fields=["provider", "subject"], name="identity_oauth_subject"),
            models.UniqueConstraint(fields=["user", "provider"], name="identity_oauth_one_each"),
        )

    def __str__(self) -> str:
        return f"{self.provider}: {self.email}"
