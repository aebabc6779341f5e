"""Adds the codes of devices that wait for their user's permission (RFC 8628)."""

from hub.storage.schema import Schema

revision = "security_0005"
after = ("security_0004",)


def upgrade(schema: Schema) -> None:
    """Create the table."""
    schema.run(
        """
        CREATE TABLE device_codes (
            hash VARCHAR(64) NOT NULL,
            user_code VARCHAR(16) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            client VARCHAR(128) NOT NULL,
            address VARCHAR(64) NOT NULL,
            scopes VARCHAR(4096) NOT NULL,
            state VARCHAR(16) NOT NULL,
            user_id VARCHAR(32),
            generation BIGINT NOT NULL,
            auth_time_s BIGINT NOT NULL,
            expires_ms BIGINT NOT NULL,
            used_ms BIGINT,
            CONSTRAINT pk_device_codes PRIMARY KEY (hash),
            CONSTRAINT uq_device_codes_user_code UNIQUE (user_code),
            CONSTRAINT fk_device_codes_client FOREIGN KEY (client) REFERENCES clients (id) ON DELETE CASCADE,
            CONSTRAINT fk_device_codes_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_device_codes_tenant ON device_codes (tenant)",
        "CREATE INDEX ix_device_codes_client ON device_codes (client)",
        "CREATE INDEX ix_device_codes_user_id ON device_codes (user_id)",
        "CREATE INDEX ix_device_codes_expires_ms ON device_codes (expires_ms)",
    )
