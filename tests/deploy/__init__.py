"""Builds and runs each deployment as its platform does, without an account: `make test-deploy`."""
