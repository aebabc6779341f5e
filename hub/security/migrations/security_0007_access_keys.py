"""Adds access keys, by which callers sign their requests. Their secrets are derived and stored nowhere."""

from hub.storage.schema import Schema

revision = "security_0007"
after = ("security_0006",)


def upgrade(schema: Schema) -> None:
    """Create the table."""
    schema.run(
        """
        CREATE TABLE access_keys (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            name VARCHAR(128) NOT NULL,
            generation INTEGER NOT NULL,
            roles JSON NOT NULL,
            created_ms BIGINT NOT NULL,
            rotated_ms BIGINT,
            CONSTRAINT pk_access_keys PRIMARY KEY (id),
            CONSTRAINT uq_access_keys_tenant_name UNIQUE (tenant, name),
            CONSTRAINT fk_access_keys_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
    )
