"""Adds the audit log, whose rows nobody changes, and which loses none but the oldest (docs/audit.md)."""

from hub.storage.schema import Schema

revision = "security_0004"
after = ("security_0003",)

_SQLITE = (
    "CREATE TRIGGER audit_is_kept BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END",
    # what the chain begins behind is over: retention moves its beginning first
    """
    CREATE TRIGGER audit_loses_none BEFORE DELETE ON audit
    WHEN OLD.number >= COALESCE((SELECT first FROM audit_chains WHERE tenant = OLD.tenant), 0)
    BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END
    """,
    """
    CREATE TRIGGER audit_chains_go_on BEFORE UPDATE ON audit_chains
    WHEN NEW.tenant <> OLD.tenant OR NEW.number < OLD.number OR NEW.first < OLD.first
    BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END
    """,
    "CREATE TRIGGER audit_chains_are_kept BEFORE DELETE ON audit_chains BEGIN SELECT RAISE(ABORT, 'the audit log cannot be changed'); END",
)

_POSTGRESQL = (
    "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the audit log cannot be changed'; END $$",
    """
    CREATE FUNCTION audit_check_delete() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.number >= COALESCE((SELECT first FROM audit_chains WHERE tenant = OLD.tenant), 0) THEN
            RAISE EXCEPTION 'the audit log cannot be changed';
        END IF;
        RETURN OLD;
    END $$
    """,
    """
    CREATE FUNCTION audit_check_ends() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.tenant <> OLD.tenant OR NEW.number < OLD.number OR NEW.first < OLD.first THEN
            RAISE EXCEPTION 'the audit log cannot be changed';
        END IF;
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER audit_is_kept BEFORE UPDATE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_loses_none BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_check_delete()",
    "CREATE TRIGGER audit_chains_go_on BEFORE UPDATE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_check_ends()",
    # for each row: a copy from SQLite begins by emptying tables, of which this one is empty
    "CREATE TRIGGER audit_chains_are_kept BEFORE DELETE ON audit_chains FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_chains_stay BEFORE TRUNCATE ON audit_chains FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
)


def upgrade(schema: Schema) -> None:
    """Create the tables, and the triggers that keep them."""
    schema.run(
        # no foreign key: the log of a tenant stays when the tenant is removed
        """
        CREATE TABLE audit (
            tenant VARCHAR(64) NOT NULL,
            number BIGINT NOT NULL,
            at_ms BIGINT NOT NULL,
            event VARCHAR(32) NOT NULL,
            who VARCHAR(160) NOT NULL,
            address VARCHAR(64) NOT NULL,
            client VARCHAR(128) NOT NULL,
            target VARCHAR(160) NOT NULL,
            count BIGINT NOT NULL,
            value_before TEXT,
            value_after TEXT,
            hash VARCHAR(64) NOT NULL,
            CONSTRAINT pk_audit PRIMARY KEY (tenant, number)
        )
        """,
        """
        CREATE TABLE audit_chains (
            tenant VARCHAR(64) NOT NULL,
            number BIGINT NOT NULL,
            hash VARCHAR(64) NOT NULL,
            first BIGINT NOT NULL,
            anchor VARCHAR(64) NOT NULL,
            seal VARCHAR(64) NOT NULL,
            CONSTRAINT pk_audit_chains PRIMARY KEY (tenant)
        )
        """,
        *(_SQLITE if schema.is_sqlite else _POSTGRESQL),
    )
