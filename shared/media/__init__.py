"""Examines media files: dimensions, duration and a thumbnail, in a child process with little memory."""
