"""How older schemas become the one in `tables`: Alembic's environment and its versions."""
