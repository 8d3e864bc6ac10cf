# Three zones, standbys, protection from destroy.

data "aws_caller_identity" "this" {}

module "stack" {
  source = "../../modules/stack"

  prefix          = var.prefix
  region          = var.region
  account_id      = data.aws_caller_identity.this.account_id
  zones           = var.zones
  processors_file = var.processors_file
  keep            = true

  image_tag       = var.image_tag
  run_services    = var.run_services
  architecture    = var.architecture
  certificate_arn = var.certificate_arn
  alarm_email     = var.alarm_email
  emr_subnet_ids  = var.emr_subnet_ids
  emr_peer        = var.emr_peer
  emr_serverless  = var.emr_serverless
  settings        = var.settings
  sidecars        = var.sidecars
  search          = var.search
  budget          = var.budget

  permissions_boundary = var.permissions_boundary

  # Over what modules/stack gives each service.
  scaling = {
    for name in setunion(keys(local.scaling), keys(var.scaling)) :
    name => merge(lookup(local.scaling, name, {}), lookup(var.scaling, name, {}))
  }

  catalog = { instance_class = "db.t4g.medium", storage_gb = 50 }
  cache   = { node_type = "cache.t4g.small", replicas = 1 }
}

locals {
  scaling = {
    ingest-api     = { min_tasks = 3, max_tasks = 60 }
    session-worker = { min_tasks = 2, max_tasks = 60 }
    media-worker   = { min_tasks = 1, max_tasks = 40 }
  }
}
