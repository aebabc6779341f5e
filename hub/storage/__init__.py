"""The database: connections, transactions and migrations, for all parts of the hub that have tables."""
