"""A mail is found by the id of its interaction, too."""

import sqlalchemy as sa
from alembic import op

revision = "secure_email_0002"
down_revision = "secure_email_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the mails that have an interaction by its id."""
    present = sa.text("interaction_id IS NOT NULL")
    op.create_index("ix_secure_mails_interaction", "secure_mails", ["interaction_id"], postgresql_where=present, sqlite_where=present)
