"""How an organisation's people sign in by its own identity provider, and what that provider provisions."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from apps.core.basemodels import TimestampedModel, UUIDModel
from apps.core.clock import now
from apps.core.crypto import EncryptedJSONField, EncryptedTextField
from apps.core.tenancy import OrgScopedModel

__all__ = [
    "BreakGlass",
    "Connection",
    "ConnectionKind",
    "Domain",
    "ExternalIdentity",
    "GroupMapping",
    "ScimGroup",
    "ScimGroupMember",
    "ScimRequest",
    "ScimToken",
    "ScimUser",
    "ToldSignIn",
    "UsedAssertion",
]


class ConnectionKind(models.TextChoices):
    OIDC = "oidc", "OpenID Connect"
    SAML = "saml", "SAML 2.0"


class Domain(TimestampedModel, OrgScopedModel):
    """A domain of e-mail addresses that an organisation proved (a TXT record) to be its own."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=253)
    token = models.CharField(max_length=64, help_text="What the TXT record must hold.")
    verified_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True, help_text="When the record was last looked for.")
    failing_since = models.DateTimeField(null=True, blank=True, help_text="Since when the record has been missing.")

    class Meta(OrgScopedModel.Meta):
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=["org", "name"], name="sso_domain_unique"),
            # Claimed by many, proved by one.
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(verified_at__isnull=False), name="sso_domain_one_owner"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Connection(TimestampedModel, OrgScopedModel):
    """An identity provider of an organisation. Of the two groups of fields only its kind's are used."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=ConnectionKind.choices)
    is_enabled = models.BooleanField(default=False)
    is_enforced = models.BooleanField(
        default=False, help_text="People of the verified domains sign in by it alone; a break-glass owner excepted."
    )
    creates_members = models.BooleanField(default=True, help_text="Whoever signs in by it becomes a member.")
    default_role = models.CharField(max_length=60, default="developer")
    # OpenID Connect
    issuer = models.URLField(max_length=500, blank=True)
    client_id = models.CharField(max_length=300, blank=True)
    client_secret = EncryptedTextField(null=True, blank=True)
    scopes = models.CharField(max_length=300, default="openid email profile")
    needs_auth_time = models.BooleanField(
        default=True, help_text="A confirmation by it counts only where it says when the person last signed in there."
    )
    # The claim of OpenID Connect, or the attribute of SAML, that lists the groups.
    groups_claim = models.CharField(max_length=200, default="groups", blank=True)
    # SAML 2.0
    idp_entity_id = models.CharField(max_length=500, blank=True)
    idp_sso_url = models.URLField(max_length=500, blank=True)
    idp_certificates = ArrayField(models.TextField(), default=list, blank=True)
    idp_metadata_url = models.URLField(
        max_length=500, blank=True, help_text="Where the metadata are fetched again and again; empty: never."
    )
    metadata_checked_at = models.DateTimeField(null=True, blank=True)
    metadata_failing_since = models.DateTimeField(null=True, blank=True)
    metadata_problem = models.CharField(max_length=300, blank=True)
    metadata_told_at = models.DateTimeField(
        null=True, blank=True, help_text="When those who manage it were told of the failure that goes on."
    )
    subject_attribute = models.CharField(
        max_length=200, blank=True, help_text="The attribute that names a person for ever; empty: the NameID."
    )
    email_attribute = models.CharField(
        max_length=200, blank=True, help_text="The attribute with the address; empty: the usual names, then the NameID."
    )
    signs_requests = models.BooleanField(default=False)
    allows_unsolicited = models.BooleanField(
        default=False, help_text="Takes answers that nobody here asked for: a sign-in begun at the provider."
    )
    # Our side's key pair: signs requests, opens encrypted assertions.
    sp_key = EncryptedTextField(null=True, blank=True)
    sp_certificate = models.TextField(blank=True)
    # What the provider told at the last sign-in that was a test.
    test_answer = EncryptedJSONField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=["org", "name"], name="sso_connection_name_unique"),
            models.UniqueConstraint(
                fields=["org"], condition=models.Q(is_enforced=True), name="sso_connection_one_enforced"
            ),
            models.CheckConstraint(
                condition=models.Q(is_enforced=False) | models.Q(is_enabled=True), name="sso_connection_enforced_works"
            ),
        )

    def __str__(self) -> str:
        return self.name


class BreakGlass(TimestampedModel, OrgScopedModel):
    """An owner who may sign in without the provider, so that its failure locks nobody out; each use is told."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")

    class Meta(OrgScopedModel.Meta):
        verbose_name = "break-glass owner"
        constraints = (models.UniqueConstraint(fields=["org", "user"], name="sso_break_glass_unique"),)

    def __str__(self) -> str:
        return str(self.user_id)


class ToldSignIn(UUIDModel, OrgScopedModel):
    """A sign-in past the provider that the organisation was told of: the bus delivers it once, or more than once."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    event_id = models.UUIDField(help_text="The event of the bus that told of the sign-in.")
    at = models.DateTimeField(default=now, db_index=True)

    class Meta(OrgScopedModel.Meta):
        verbose_name = "sign-in past the provider"
        verbose_name_plural = "sign-ins past the provider"
        constraints = (models.UniqueConstraint(fields=["org", "event_id"], name="sso_told_sign_in_once"),)

    def __str__(self) -> str:
        return str(self.event_id)


class GroupMapping(TimestampedModel, OrgScopedModel):
    """What a group of the provider gives here: a role, a place in a team, or both."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    group = models.CharField(max_length=300)
    role = models.CharField(max_length=60, blank=True)
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, null=True, blank=True, related_name="+")

    class Meta(OrgScopedModel.Meta):
        ordering = ("group",)
        constraints = (
            models.UniqueConstraint(
                fields=["org", "group", "role", "team"], nulls_distinct=False, name="sso_group_mapping_unique"
            ),
        )

    def __str__(self) -> str:
        return self.group


class ExternalIdentity(TimestampedModel, OrgScopedModel):
    """A person as a provider names them: its subject is the key, never their address, which can change hands."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="identities")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=500)
    groups = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    last_used_at = models.DateTimeField(default=now)

    class Meta(OrgScopedModel.Meta):
        verbose_name_plural = "external identities"
        constraints = (models.UniqueConstraint(fields=["connection", "subject"], name="sso_identity_unique"),)
        indexes = (models.Index(fields=["user"], name="sso_identity_user"),)

    def __str__(self) -> str:
        return self.subject


class UsedAssertion(UUIDModel, OrgScopedModel):
    """An assertion that was accepted, remembered until it would have expired: it is good for one sign-in."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    assertion_id = models.CharField(max_length=300)
    expires_at = models.DateTimeField(db_index=True)
    # Between the provider's POST, which comes without our cookie, and the request that takes it up, which has it.
    ticket = models.BinaryField(unique=True, max_length=32, null=True, editable=False)
    in_response_to = models.CharField(max_length=300, blank=True)
    answer = EncryptedJSONField(null=True, blank=True)

    class Meta(OrgScopedModel.Meta):
        constraints = (models.UniqueConstraint(fields=["connection", "assertion_id"], name="sso_assertion_used_once"),)

    def __str__(self) -> str:
        return self.assertion_id


class ScimToken(TimestampedModel, OrgScopedModel):
    """What a provider's provisioning shows at ``/scim/v2/``; kept as a digest."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=16)
    digest = models.BinaryField(unique=True, max_length=32)
    created_by_id = models.UUIDField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at",)
        verbose_name = "SCIM token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class ScimUser(TimestampedModel, OrgScopedModel):
    """A person as the provider provisioned them. Inactive ones are no members; what they were is kept here."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    user_name = models.CharField(max_length=254)
    email = models.CharField(max_length=254, blank=True)
    external_id = models.CharField(max_length=300, blank=True)
    is_active = models.BooleanField(default=True)
    last_role = models.CharField(max_length=60, blank=True)
    attributes = models.JSONField(default=dict, help_text="What was sent and has no field here, sent back as it was.")

    class Meta(OrgScopedModel.Meta):
        verbose_name = "SCIM user"
        constraints = (
            models.UniqueConstraint(fields=["org", "user"], name="sso_scim_user_unique"),
            models.UniqueConstraint("org", Lower("user_name"), name="sso_scim_user_name_unique"),
        )
        indexes = (models.Index(fields=["org", "external_id"], name="sso_scim_user_external"),)

    def __str__(self) -> str:
        return self.user_name


class ScimGroup(TimestampedModel, OrgScopedModel):
    """A group that the provider pushed; what it gives is its :class:`GroupMapping`, by its display name."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    display_name = models.CharField(max_length=300)
    external_id = models.CharField(max_length=300, blank=True)

    class Meta(OrgScopedModel.Meta):
        verbose_name = "SCIM group"
        constraints = (models.UniqueConstraint(fields=["org", "display_name"], name="sso_scim_group_unique"),)

    def __str__(self) -> str:
        return self.display_name


class ScimGroupMember(UUIDModel, OrgScopedModel):
    """A provisioned person in a pushed group."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey(ScimGroup, on_delete=models.CASCADE, related_name="memberships")
    member = models.ForeignKey(ScimUser, on_delete=models.CASCADE, related_name="memberships")

    class Meta(OrgScopedModel.Meta):
        verbose_name = "SCIM group member"
        constraints = (models.UniqueConstraint(fields=["group", "member"], name="sso_scim_member_unique"),)

    def __str__(self) -> str:
        return f"{self.member_id} in {self.group_id}"


class ScimRequest(UUIDModel, OrgScopedModel):
    """A request of a provider's provisioning and how it went, kept for a month; its body is not."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    token = models.ForeignKey(ScimToken, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=now, editable=False)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=300)
    status = models.PositiveSmallIntegerField()
    subject = models.CharField(max_length=300, blank=True, help_text="Whom or what it was about.")
    detail = models.CharField(max_length=500, blank=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-at",)
        verbose_name = "SCIM request"
        indexes = (models.Index(fields=["org", "-at"], name="sso_scim_request_recent"),)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"
