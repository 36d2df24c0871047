"""Names and tag sets are told apart by a digest: a page of an index holds no row of 2.7 kB, which names can be."""

from django.db import migrations

_WHAT = (
    "event_type",
    "model",
    "service_tier",
    "geo",
    "speed",
    "context_band",
    "mcp_server",
    "mcp_tool",
    "source",
    "status",
)
_WHAT_DIGEST = " || ".join(f"md5({name})" for name in _WHAT)

FORWARD = f"""
CREATE UNIQUE INDEX usage_what_digest ON usage_what (md5({_WHAT_DIGEST}), batch);
ALTER TABLE usage_what
    DROP CONSTRAINT usage_what_event_type_model_service_tier_batch_geo_speed_co_key;
CREATE UNIQUE INDEX usage_tagset_digest ON usage_tagset (org, md5(tags::text));
ALTER TABLE usage_tagset DROP CONSTRAINT usage_tagset_org_tags_key;
"""
BACKWARD = """
ALTER TABLE usage_tagset ADD CONSTRAINT usage_tagset_org_tags_key UNIQUE (org, tags);
DROP INDEX usage_tagset_digest;
ALTER TABLE usage_what ADD CONSTRAINT usage_what_event_type_model_service_tier_batch_geo_speed_co_key
    UNIQUE (event_type, model, service_tier, batch, geo, speed, context_band, mcp_server, mcp_tool, source, status);
DROP INDEX usage_what_digest;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0016_session_parts")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
