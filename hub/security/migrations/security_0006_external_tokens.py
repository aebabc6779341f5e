"""Adds tokens of external issuers, as far as they were taken, and those that are blocked."""

from hub.storage.schema import Schema

revision = "security_0006"
after = ("security_0005",)


def upgrade(schema: Schema) -> None:
    """Create the tables."""
    schema.run(
        """
        CREATE TABLE external_tokens (
            id VARCHAR(32) NOT NULL,
            hash VARCHAR(64) NOT NULL,
            issuer VARCHAR(64) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            subject VARCHAR(128) NOT NULL,
            roles JSON NOT NULL,
            session VARCHAR(64),
            token_ref VARCHAR(64) NOT NULL,
            subject_ref VARCHAR(64) NOT NULL,
            created_ms BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL,
            CONSTRAINT pk_external_tokens PRIMARY KEY (id),
            CONSTRAINT uq_external_tokens_hash UNIQUE (hash),
            CONSTRAINT fk_external_tokens_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_external_tokens_tenant ON external_tokens (tenant, expires_ms)",
        "CREATE INDEX ix_external_tokens_token_ref ON external_tokens (tenant, token_ref)",
        "CREATE INDEX ix_external_tokens_subject_ref ON external_tokens (tenant, subject_ref)",
        "CREATE INDEX ix_external_tokens_expires_ms ON external_tokens (expires_ms)",
        """
        CREATE TABLE blocked_tokens (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            ref VARCHAR(64) NOT NULL,
            at_ms BIGINT NOT NULL,
            until_ms BIGINT NOT NULL,
            CONSTRAINT pk_blocked_tokens PRIMARY KEY (id),
            CONSTRAINT fk_blocked_tokens_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_blocked_tokens_ref ON blocked_tokens (tenant, ref)",
        "CREATE INDEX ix_blocked_tokens_until_ms ON blocked_tokens (until_ms)",
    )
