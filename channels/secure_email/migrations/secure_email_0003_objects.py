"""Attachments lie in the object store."""

from hub.storage.schema import Schema

revision = "secure_email_0003"
after = ("secure_email_0002",)


def upgrade(schema: Schema) -> None:
    """Let an attachment name its object. One that does has empty bytes in its row; those that do not are moved while the hub runs, a slice
    at a time, so that an upgrade takes no longer for them.
    """
    schema.run(
        "ALTER TABLE secure_mail_attachments ADD COLUMN object VARCHAR(36)",
        "CREATE UNIQUE INDEX uq_secure_mail_attachments_object ON secure_mail_attachments (object) WHERE object IS NOT NULL",
        "CREATE INDEX ix_secure_mail_attachments_unmoved ON secure_mail_attachments (mail, number) WHERE object IS NULL",
    )
