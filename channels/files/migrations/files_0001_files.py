"""Files, the tokens by which they were announced, and how many a tenant has."""

from hub.storage.schema import Schema

revision = "files_0001"
after = ("security_0001", "outbox_0001")


def upgrade(schema: Schema) -> None:
    """Create the tables."""
    schema.run(
        """
        CREATE TABLE files (
            number {counter} NOT NULL CONSTRAINT pk_files PRIMARY KEY{never_again},
            id VARCHAR(36) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            origin VARCHAR(16) NOT NULL,
            resource VARCHAR(500) NOT NULL,
            interaction_id VARCHAR(255),
            name VARCHAR(256) NOT NULL,
            size BIGINT NOT NULL,
            content_type VARCHAR(256) NOT NULL,
            state VARCHAR(10) NOT NULL,
            created_by TEXT NOT NULL,
            tags TEXT NOT NULL,
            created_ms BIGINT NOT NULL,
            link_ends_ms BIGINT NOT NULL,
            uploaded_ms BIGINT,
            checking_ms BIGINT,
            completed_by VARCHAR(64),
            decided_ms BIGINT,
            reason TEXT,
            md5 VARCHAR(32),
            sha256 VARCHAR(64),
            object_key VARCHAR(200),
            scan_lease_ms BIGINT,
            CONSTRAINT fk_files_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE UNIQUE INDEX uq_files_id ON files (tenant, id)",
        "CREATE INDEX ix_files_resource ON files (tenant, resource)",
        "CREATE INDEX ix_files_interaction ON files (tenant, interaction_id, number) WHERE interaction_id IS NOT NULL",
        "CREATE INDEX ix_files_age ON files (tenant, created_ms, id)",
        "CREATE INDEX ix_files_open ON files (link_ends_ms) WHERE decided_ms IS NULL",
        "CREATE INDEX ix_files_decided ON files (decided_ms) WHERE decided_ms IS NOT NULL",
        "CREATE INDEX ix_files_checking ON files (checking_ms) WHERE state = 'checking'",
        "CREATE INDEX ix_files_scanning ON files (tenant, checking_ms) WHERE state = 'scanning'",
        "CREATE UNIQUE INDEX uq_files_key ON files (object_key) WHERE object_key IS NOT NULL",
        """
        CREATE TABLE file_tokens (
            tenant VARCHAR(64) NOT NULL,
            digest VARCHAR(64) NOT NULL,
            fields VARCHAR(64) NOT NULL,
            file VARCHAR(36) NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_file_tokens PRIMARY KEY (tenant, digest),
            CONSTRAINT fk_file_tokens_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_file_tokens_age ON file_tokens (created_ms)",
        """
        CREATE TABLE file_shares (
            tenant VARCHAR(64) NOT NULL,
            files BIGINT NOT NULL,
            tokens BIGINT NOT NULL,
            CONSTRAINT pk_file_shares PRIMARY KEY (tenant),
            CONSTRAINT fk_file_shares_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
    )
