# The state's bucket is told at `terraform init -backend-config=...`, see docs/operations.md.
terraform {
  backend "s3" {}
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { application = "kinstream", environment = "prod", deployment = var.prefix }
  }
}
