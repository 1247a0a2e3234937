"""Everything that touches the outside: image files, configuration files, checkpoints and logs."""
