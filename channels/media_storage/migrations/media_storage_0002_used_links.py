"""The links by which files were uploaded, until they end."""

from hub.storage.schema import Schema

revision = "media_storage_0002"
after = ("media_storage_0001",)


def upgrade(schema: Schema) -> None:
    """Create the table, and count its rows for each tenant."""
    schema.run(
        """
        CREATE TABLE media_used_links (
            tenant VARCHAR(64) NOT NULL,
            link VARCHAR(64) NOT NULL,
            object VARCHAR(36) NOT NULL,
            ends_ms BIGINT NOT NULL,
            CONSTRAINT pk_media_used_links PRIMARY KEY (tenant, link),
            CONSTRAINT fk_media_used_links_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_media_used_links_ends ON media_used_links (ends_ms)",
        "ALTER TABLE media_usage ADD COLUMN links BIGINT NOT NULL DEFAULT 0",
    )
