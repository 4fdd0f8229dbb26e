"""What a file shows: its size and length, and a thumbnail of it, made in a child process with little memory."""
