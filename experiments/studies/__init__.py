"""Studies that measure more than which method wins; each is a module here with a TOML file of its settings beside it."""
