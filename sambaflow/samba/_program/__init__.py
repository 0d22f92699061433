"""What a program says of itself: its arguments, its session, its processes, and what it left undone."""
