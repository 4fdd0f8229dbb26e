"""What is deployed, built and run as its platform would run it, without an account: `make test-deploy`."""
