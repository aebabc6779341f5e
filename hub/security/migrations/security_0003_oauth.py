"""Adds the clients of OAuth, what they are given, signing keys, and the list of what has ended.

Users get a number, which the Authentication API tells as ``dbid``: those that are there in the order in which they were made.
"""

from hub.security.queries import number_users
from hub.storage.schema import Schema

revision = "security_0003"
after = ("security_0002",)


def upgrade(schema: Schema) -> None:
    """Create the tables and columns, and number the users."""
    schema.run(
        "ALTER TABLE users ADD COLUMN number BIGINT",
        "ALTER TABLE users ADD COLUMN given_name VARCHAR(128)",
        "ALTER TABLE users ADD COLUMN family_name VARCHAR(128)",
        "ALTER TABLE users ADD COLUMN email VARCHAR(254)",
        "ALTER TABLE users ADD COLUMN generation BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE revision ADD COLUMN last_user BIGINT NOT NULL DEFAULT 0",
        """
        CREATE TABLE clients (
            id VARCHAR(128) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            name VARCHAR(128) NOT NULL,
            public INTEGER NOT NULL,
            secrets JSON NOT NULL,
            grants JSON NOT NULL,
            roles JSON,
            redirect_uris JSON NOT NULL,
            post_logout_uris JSON NOT NULL,
            origins JSON NOT NULL,
            frame_origins JSON NOT NULL,
            pkce INTEGER NOT NULL,
            consent INTEGER NOT NULL,
            lifetimes JSON NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_clients PRIMARY KEY (id),
            CONSTRAINT fk_clients_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_clients_tenant ON clients (tenant)",
        """
        CREATE TABLE families (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            client VARCHAR(128) NOT NULL,
            user_id VARCHAR(32),
            scopes VARCHAR(4096) NOT NULL,
            auth_time_s BIGINT NOT NULL,
            used_ms BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL,
            CONSTRAINT pk_families PRIMARY KEY (id),
            CONSTRAINT fk_families_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE,
            CONSTRAINT fk_families_client FOREIGN KEY (client) REFERENCES clients (id) ON DELETE CASCADE,
            CONSTRAINT fk_families_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_families_tenant ON families (tenant, used_ms)",
        "CREATE INDEX ix_families_client ON families (client)",
        "CREATE INDEX ix_families_user_id ON families (user_id)",
        "CREATE INDEX ix_families_expires_ms ON families (expires_ms)",
        """
        CREATE TABLE refresh_tokens (
            hash VARCHAR(64) NOT NULL,
            family VARCHAR(32) NOT NULL,
            expires_ms BIGINT NOT NULL,
            used_ms BIGINT,
            CONSTRAINT pk_refresh_tokens PRIMARY KEY (hash),
            CONSTRAINT fk_refresh_tokens_family FOREIGN KEY (family) REFERENCES families (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_refresh_tokens_family ON refresh_tokens (family)",
        """
        CREATE TABLE codes (
            hash VARCHAR(64) NOT NULL,
            client VARCHAR(128) NOT NULL,
            user_id VARCHAR(32) NOT NULL,
            redirect_uri VARCHAR(2048) NOT NULL,
            challenge VARCHAR(128),
            generation BIGINT NOT NULL,
            scopes VARCHAR(4096) NOT NULL,
            nonce VARCHAR(512),
            auth_time_s BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL,
            used_ms BIGINT,
            family VARCHAR(32),
            CONSTRAINT pk_codes PRIMARY KEY (hash),
            CONSTRAINT fk_codes_client FOREIGN KEY (client) REFERENCES clients (id) ON DELETE CASCADE,
            CONSTRAINT fk_codes_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_codes_client ON codes (client)",
        "CREATE INDEX ix_codes_user_id ON codes (user_id)",
        "CREATE INDEX ix_codes_expires_ms ON codes (expires_ms)",
        # apart from tokens: a hub of version 0.1.0 that still runs beside this one knows nothing of scopes, and must not take these
        """
        CREATE TABLE access_tokens (
            id VARCHAR(32) NOT NULL,
            hash VARCHAR(64) NOT NULL,
            family VARCHAR(32) NOT NULL,
            scopes VARCHAR(4096) NOT NULL,
            expires_ms BIGINT NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_access_tokens PRIMARY KEY (id),
            CONSTRAINT uq_access_tokens_hash UNIQUE (hash),
            CONSTRAINT fk_access_tokens_family FOREIGN KEY (family) REFERENCES families (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_access_tokens_family ON access_tokens (family)",
        "CREATE INDEX ix_access_tokens_expires_ms ON access_tokens (expires_ms)",
        """
        CREATE TABLE signing_keys (
            kid VARCHAR(64) NOT NULL,
            algorithm VARCHAR(16) NOT NULL,
            sealed {bytes} NOT NULL,
            signs_from_ms BIGINT NOT NULL,
            signs_until_ms BIGINT NOT NULL,
            CONSTRAINT pk_signing_keys PRIMARY KEY (kid)
        )
        """,
        """
        CREATE TABLE revocations (
            number BIGINT NOT NULL,
            kind VARCHAR(16) NOT NULL,
            ref VARCHAR(256) NOT NULL,
            at_ms BIGINT NOT NULL,
            CONSTRAINT pk_revocations PRIMARY KEY (number)
        )
        """,
        "CREATE INDEX ix_revocations_at_ms ON revocations (at_ms)",
    )
    schema.run("CREATE UNIQUE INDEX uq_users_number ON users (number)")
    number_users(schema.transaction)
