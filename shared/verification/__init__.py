"""E-mail verification codes: sent by mail, tried at most five times, and proved to the application once."""
