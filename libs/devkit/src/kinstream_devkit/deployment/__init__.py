"""`kinstream deploy-local`: Terraform's envs/dev, really applied, to an emulator with real containers."""
