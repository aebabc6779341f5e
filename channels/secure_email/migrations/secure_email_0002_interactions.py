"""A mail is found by the id of its interaction, too."""

from hub.storage.schema import Schema

revision = "secure_email_0002"
after = ("secure_email_0001",)


def upgrade(schema: Schema) -> None:
    """Index the mails that have an interaction by its id."""
    schema.run(
        "CREATE INDEX ix_secure_mails_interaction ON secure_mails (interaction_id) WHERE interaction_id IS NOT NULL",
    )
