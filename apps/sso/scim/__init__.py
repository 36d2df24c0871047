"""SCIM 2.0 (RFC 7643, RFC 7644): what an identity provider's provisioning asks, at ``/scim/v2/``."""
