# The state's bucket is told at `terraform init -backend-config=...`, see docs/operations.md.
terraform {
  backend "s3" {}
}

provider "aws" {
  region = var.region

  # Nothing that is meant for an emulator may ever reach AWS: every service that is used is named below.
  access_key                  = local.is_emulated ? "test" : null
  secret_key                  = local.is_emulated ? "test" : null
  skip_credentials_validation = local.is_emulated
  skip_metadata_api_check     = local.is_emulated
  s3_use_path_style           = local.is_emulated
  max_retries                 = local.is_emulated ? 6 : null

  dynamic "endpoints" {
    for_each = var.emulator[*]

    content {
      applicationautoscaling = endpoints.value.url
      budgets                = endpoints.value.url
      cloudwatch             = endpoints.value.url
      dynamodb               = endpoints.value.url
      ec2                    = endpoints.value.url
      ecr                    = endpoints.value.url
      ecs                    = endpoints.value.url
      elasticache            = endpoints.value.url
      elbv2                  = endpoints.value.url
      emr                    = endpoints.value.url
      emrserverless          = endpoints.value.url
      events                 = endpoints.value.url
      iam                    = endpoints.value.url
      logs                   = endpoints.value.url
      opensearch             = endpoints.value.url
      rds                    = endpoints.value.url
      s3                     = endpoints.value.url
      secretsmanager         = endpoints.value.url
      sns                    = endpoints.value.url
      sqs                    = endpoints.value.url
      ssm                    = endpoints.value.url
      sts                    = endpoints.value.url
      wafv2                  = endpoints.value.url
    }
  }

  default_tags {
    tags = { application = "kinstream", environment = "dev", deployment = var.prefix }
  }
}
