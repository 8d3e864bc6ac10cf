# All of Kinstream, put together from the modules beside it. An environment is this with its own sizes.

locals {
  processors = jsondecode(file(var.processors_file))

  # The same names as kinstream.resources gives; tests/infra compares them.
  tables = {
    ledger = { indexes = { due = { partition = "due_shard", sort = "due_at_ms", keys_only = true } } }
    counters = {
      indexes = {
        due   = { partition = "due_shard", sort = "due_at_ms" }
        trend = { partition = "trend_shard", sort = "trend" }
      }
    }
    records         = {}
    outbox          = { indexes = { pending = { partition = "pending_shard", sort = "created_at_ms" } } }
    registry        = {}
    recommendations = {}
  }

  buckets = {
    uploads    = { expire_days = 30, used_by_pages = true }
    derived    = { used_by_pages = true }
    archive    = { versioned = true }
    quarantine = { expire_days = 90 }
    training   = { expire_days = 90 }
  }

  topics = toset(["events", "alerts", "operations", "sessions", "media"])

  # What tasks call; the collector adds X-Ray.
  interface_endpoints = concat(
    ["sqs", "sns", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm"],
    [var.emr_serverless == null ? "elasticmapreduce" : "emr-serverless"],
    local.sidecars.adot == null ? [] : ["xray"],
  )

  sidecars = {
    adot       = var.lacks.xray ? null : var.sidecars.adot
    log_router = var.sidecars.log_router
  }
}

module "network" {
  source = "../network"

  prefix              = var.prefix
  region              = var.region
  account_id          = var.account_id
  zones               = var.zones
  log_retention_days  = var.log_retention_days
  emr_peer            = var.emr_peer
  interface_endpoints = local.interface_endpoints
}

module "storage" {
  source = "../storage"

  prefix            = var.prefix
  tables            = local.tables
  buckets           = local.buckets
  notify_queue_arns = { uploads = module.uploads_queue.arn }
  keep              = var.keep
  refuse_plain_http = !var.lacks.tls
}

module "catalog" {
  source = "../catalog"

  prefix                    = var.prefix
  vpc_id                    = module.network.vpc_id
  subnet_ids                = module.network.private_subnet_ids
  client_security_group_ids = { for name in ["ingest-api", "media-worker"] : name => aws_security_group.service[name].id }
  instance_class            = var.catalog.instance_class
  storage_gb                = var.catalog.storage_gb
  multi_az                  = var.catalog.multi_az
  managed_password          = !var.lacks.managed_passwords
  keep                      = var.keep
}

module "cache" {
  source = "../cache"

  prefix                    = var.prefix
  vpc_id                    = module.network.vpc_id
  subnet_ids                = module.network.private_subnet_ids
  client_security_group_ids = { for name in ["ingest-api", "media-worker"] : name => aws_security_group.service[name].id }
  node_type                 = var.cache.node_type
  replicas                  = var.cache.replicas
  tls                       = !var.lacks.tls
}

module "search" {
  source = "../search"
  count  = var.search == null ? 0 : 1

  prefix                    = var.prefix
  region                    = var.region
  account_id                = var.account_id
  vpc_id                    = module.network.vpc_id
  subnet_ids                = module.network.private_subnet_ids
  client_security_group_ids = { for name, group in aws_security_group.service : name => group.id }
  instance_type             = var.search.instance_type
  instances                 = var.search.instances
  storage_gb                = var.search.storage_gb
}

module "api" {
  source = "../api"

  prefix          = var.prefix
  vpc_id          = module.network.vpc_id
  vpc_cidr        = module.network.cidr
  subnet_ids      = module.network.public_subnet_ids
  port            = local.api_port
  certificate_arn = var.certificate_arn
  keep            = var.keep
}

module "training" {
  source = "../training"

  prefix                 = var.prefix
  region                 = var.region
  account_id             = var.account_id
  archive_bucket         = "${var.prefix}-archive"
  training_bucket        = "${var.prefix}-training"
  security_configuration = !var.lacks.emr_security_configuration
  tags_known             = !var.lacks.emr_tags
  serverless             = var.emr_serverless
  events_queue_arn       = "arn:aws:sqs:${var.region}:${var.account_id}:${var.prefix}-emr-events"
}

module "observability" {
  source = "../observability"

  prefix          = var.prefix
  region          = var.region
  account_id      = var.account_id
  alarm_topic_arn = aws_sns_topic.this["operations"].arn
  alarm_email     = var.alarm_email
  tables          = module.storage.table_names
  events_topic    = aws_sns_topic.this["events"].name
  load_balancer   = module.api.metrics
  catalog_id      = module.catalog.identifier
  cluster_name    = aws_ecs_cluster.this.name
  budget          = var.budget
  has_collector   = local.sidecars.adot != null
  services        = { for name in keys(local.running) : name => local.scaling[name].min_tasks }

  queues = merge(
    { for name, queue in module.processor_queue : name => { name = queue.name, alarms = queue.alarms } },
    { for name, queue in module.media_queue : name => { name = queue.name, alarms = queue.alarms } },
    { uploads = { name = module.uploads_queue.name, alarms = module.uploads_queue.alarms } },
    # The scheduler looks after its runs by itself, too.
    { emr-events = { name = module.emr_events_queue.name, alarms = module.emr_events_queue.alarms, is_felt = false } },
  )
}
