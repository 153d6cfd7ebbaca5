"""Persistence: SQLAlchemy models, migrations, encrypted secrets."""
