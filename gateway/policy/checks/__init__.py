"""What several values of a policy say together. Each module yields faults: a key path, and what would be right."""
