"""The database: connections, transactions and migrations, for whoever has tables."""
