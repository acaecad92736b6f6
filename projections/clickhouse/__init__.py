"""The only package that speaks to ClickHouse: connections, migrations, the store of appends."""
