"""The keys of each tenant's folders, and how much they take together."""

from hub.storage.schema import Schema

revision = "media_storage_0001"
after = ("security_0001",)


def upgrade(schema: Schema) -> None:
    """Create the tables."""
    # keys are sorted by their bytes, as stores of objects sort them, and not as words of some language
    text = "TEXT" if schema.is_sqlite else 'TEXT COLLATE "C"'
    schema.run(
        f"""
        CREATE TABLE media_objects (
            tenant VARCHAR(64) NOT NULL,
            path {text} NOT NULL,
            folder {text} NOT NULL,
            top VARCHAR(8) NOT NULL,
            object {text} NOT NULL,
            size BIGINT NOT NULL,
            md5 VARCHAR(32) NOT NULL,
            sha256 VARCHAR(64) NOT NULL,
            modified_ms BIGINT NOT NULL,
            link_ms BIGINT,
            CONSTRAINT pk_media_objects PRIMARY KEY (tenant, path),
            CONSTRAINT uq_media_objects_object UNIQUE (tenant, object),
            CONSTRAINT fk_media_objects_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        # a page has a thousand files, whose rows lie anywhere in the table: these have all that a listing tells
        "CREATE INDEX ix_media_objects_listing ON media_objects (tenant, path, size, modified_ms)",
        "CREATE INDEX ix_media_objects_folder ON media_objects (tenant, folder, path, size, modified_ms)",
        "CREATE INDEX ix_media_objects_modified ON media_objects (top, modified_ms)",
        """
        CREATE TABLE media_arrivals (
            object VARCHAR(36) NOT NULL,
            taken_ms BIGINT NOT NULL,
            CONSTRAINT pk_media_arrivals PRIMARY KEY (object)
        )
        """,
        """
        CREATE TABLE media_usage (
            tenant VARCHAR(64) NOT NULL,
            bytes BIGINT NOT NULL,
            files BIGINT NOT NULL,
            CONSTRAINT pk_media_usage PRIMARY KEY (tenant),
            CONSTRAINT fk_media_usage_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
    )
