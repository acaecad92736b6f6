"""What people prefer, from which position on, and what that means for an event."""
