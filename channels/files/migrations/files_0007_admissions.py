"""By which other credentials the same person has let itself into a chat: each token ends with its own."""

from hub.storage.schema import Schema

revision = "files_0007"
after = ("files_0006",)


def upgrade(schema: Schema) -> None:
    """Create the table. The credential that let a participant in first stands with the participant."""
    schema.run(
        """
        CREATE TABLE chat_admissions (
            tenant VARCHAR(64) NOT NULL,
            participant VARCHAR(36) NOT NULL,
            mark VARCHAR(24) NOT NULL,
            credential VARCHAR(500) NOT NULL,
            at_ms BIGINT NOT NULL,
            CONSTRAINT pk_chat_admissions PRIMARY KEY (tenant, participant, mark),
            CONSTRAINT fk_chat_admissions_participant FOREIGN KEY (tenant, participant)
                REFERENCES chat_participants (tenant, id) ON DELETE CASCADE
        )
        """
    )
