"""The tables of tenants, roles, users, API keys, tokens and the revision."""

from hub.storage.schema import Schema

revision = "security_0001"
after = ()


def upgrade(schema: Schema) -> None:
    """Create the tables, and the one row of ``revision``."""
    schema.run(
        """
        CREATE TABLE tenants (
            name VARCHAR(64) NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_tenants PRIMARY KEY (name)
        )
        """,
        """
        CREATE TABLE roles (
            tenant VARCHAR(64) NOT NULL,
            name VARCHAR(64) NOT NULL,
            grants JSON NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_roles PRIMARY KEY (tenant, name),
            CONSTRAINT fk_roles_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        """
        CREATE TABLE users (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            name VARCHAR(128) NOT NULL,
            password_hash VARCHAR(255) NOT NULL,
            roles JSON NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_users PRIMARY KEY (id),
            CONSTRAINT uq_users_tenant_name UNIQUE (tenant, name),
            CONSTRAINT fk_users_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_users_tenant ON users (tenant)",
        """
        CREATE TABLE api_keys (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            name VARCHAR(128) NOT NULL,
            hash VARCHAR(64) NOT NULL,
            roles JSON NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_api_keys PRIMARY KEY (id),
            CONSTRAINT uq_api_keys_tenant_name UNIQUE (tenant, name),
            CONSTRAINT uq_api_keys_hash UNIQUE (hash),
            CONSTRAINT fk_api_keys_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_api_keys_tenant ON api_keys (tenant)",
        """
        CREATE TABLE tokens (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            subject VARCHAR(128) NOT NULL,
            user_id VARCHAR(32),
            hash VARCHAR(64) NOT NULL,
            roles JSON,
            expires_ms BIGINT,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_tokens PRIMARY KEY (id),
            CONSTRAINT uq_tokens_hash UNIQUE (hash),
            CONSTRAINT fk_tokens_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE,
            CONSTRAINT fk_tokens_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_tokens_tenant ON tokens (tenant)",
        "CREATE INDEX ix_tokens_user_id ON tokens (user_id)",
        """
        CREATE TABLE revision (
            id INTEGER NOT NULL,
            number BIGINT NOT NULL,
            CONSTRAINT pk_revision PRIMARY KEY (id),
            CONSTRAINT ck_revision_single CHECK (id = 1)
        )
        """,
        "INSERT INTO revision (id, number) VALUES (1, 1)",
    )
