"""Options of commands: those that several have, of separation, of training, and what the shell completes."""
