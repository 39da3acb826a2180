"""What a person types and sees: one module per command. Nobody imports it."""
