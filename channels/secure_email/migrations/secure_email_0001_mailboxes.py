"""Mails and their attachments."""

from hub.storage.schema import Schema

revision = "secure_email_0001"
after = ("security_0001",)


def upgrade(schema: Schema) -> None:
    """Create the tables. Attachments lie in the database, so that every hub on it has them and a purge takes them along."""
    schema.run(
        """
        CREATE TABLE secure_mails (
            number {counter} NOT NULL,
            id VARCHAR(36) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            direction VARCHAR(8) NOT NULL,
            address VARCHAR(254) NOT NULL,
            securebox VARCHAR(16) NOT NULL,
            status VARCHAR(6) NOT NULL,
            sender VARCHAR(254),
            sender_name TEXT,
            recipient VARCHAR(254),
            recipient_name TEXT,
            subject TEXT NOT NULL,
            body_text TEXT,
            body_html TEXT,
            user_data TEXT NOT NULL,
            in_reply_to VARCHAR(36),
            interaction_id VARCHAR(36),
            created_ms BIGINT NOT NULL,
            read_ms BIGINT,
            deleted_ms BIGINT,
            closed_ms BIGINT,
            CONSTRAINT pk_secure_mails PRIMARY KEY (number),
            CONSTRAINT uq_secure_mails_id UNIQUE (id),
            CONSTRAINT fk_secure_mails_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_secure_mails_box ON secure_mails (tenant, address, securebox, number) WHERE deleted_ms IS NULL",
        "CREATE INDEX ix_secure_mails_deleted ON secure_mails (deleted_ms) WHERE deleted_ms IS NOT NULL",
        """
        CREATE TABLE secure_mail_attachments (
            mail {number} NOT NULL,
            number INTEGER NOT NULL,
            filename TEXT NOT NULL,
            content_type VARCHAR(127) NOT NULL,
            size INTEGER NOT NULL,
            content {bytes} NOT NULL,
            CONSTRAINT pk_secure_mail_attachments PRIMARY KEY (mail, number),
            CONSTRAINT fk_secure_mail_attachments_mail FOREIGN KEY (mail) REFERENCES secure_mails (number) ON DELETE CASCADE
        )
        """,
    )
