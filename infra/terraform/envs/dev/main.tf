# Small, cheap and quick to throw away. `emulator` deploys the same to an emulator of AWS.

locals {
  is_emulated = var.emulator != null

  # Names lead nowhere there: its load balancer is a path of its own address.
  emulated_url = local.is_emulated ? "${var.emulator.url}/_alb/${substr("${var.prefix}-api", 0, 32)}" : null

  # What is otherwise there.
  settings_of_emulator = {
    shared = {
      KINSTREAM_AWS_ENDPOINT_URL        = one(var.emulator[*].seen_by_tasks)
      KINSTREAM_AWS_ENDPOINT_CHECKS_IAM = tostring(one(var.emulator[*].checks_iam))
    }
    ingest-api = {
      KINSTREAM_PUBLIC_URL    = local.emulated_url
      KINSTREAM_S3_PUBLIC_URL = one(var.emulator[*].url)
    }
    # Its clusters run no job: a run would end without a result.
    recommender-trigger = { KINSTREAM_TRAINING_ENABLED = "false" }
  }
}

data "aws_caller_identity" "this" {}

module "stack" {
  source = "../../modules/stack"

  prefix          = var.prefix
  region          = var.region
  account_id      = data.aws_caller_identity.this.account_id
  zones           = var.zones
  processors_file = var.processors_file
  keep            = false

  image_tag       = var.image_tag
  image_registry  = var.image_registry
  run_services    = var.run_services
  architecture    = var.architecture
  certificate_arn = var.certificate_arn
  alarm_email     = var.alarm_email
  emr_subnet_ids  = var.emr_subnet_ids
  emr_peer        = var.emr_peer
  emr_serverless  = var.emr_serverless
  sidecars        = var.sidecars
  search          = var.search
  budget          = 300
  spot_share      = 1

  permissions_boundary = var.permissions_boundary

  settings = {
    for service in ["shared", "ingest-api", "session-worker", "media-worker", "recommender-trigger"] :
    service => merge(
      { for name, value in lookup(local.settings_of_emulator, service, {}) : name => value if local.is_emulated },
      lookup(var.settings, service, {}),
    )
  }

  # Media sleeps while nobody uploads; the first upload afterwards waits two minutes for its task.
  scaling = {
    ingest-api     = { min_tasks = 1, max_tasks = 2 }
    session-worker = { max_tasks = 3 }
    media-worker   = { min_tasks = 0, max_tasks = 2 }
  }

  sizes = {
    ingest-api = { cpu = 512, memory_mb = 1024 }
  }

  catalog = { instance_class = "db.t4g.micro", multi_az = false }
  cache   = { replicas = 0 }

  lacks = {
    tls                        = local.is_emulated
    autoscaling                = local.is_emulated
    emr_security_configuration = local.is_emulated
    xray                       = local.is_emulated
    prefix_lists               = local.is_emulated
    managed_passwords          = local.is_emulated
    batch_permissions          = local.is_emulated
    emr_tags                   = local.is_emulated
  }
}
