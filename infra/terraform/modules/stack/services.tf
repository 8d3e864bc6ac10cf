locals {
  processor_services = { for name in keys(local.processors) : "session-worker-${name}" => name }

  # ECS service => the service whose image and settings it has.
  kinds = merge(
    { for name in ["ingest-api", "media-worker", "recommender-trigger"] : name => name },
    { for name in keys(local.processor_services) : name => "session-worker" },
    # What takes long has tasks of its own, so that nothing quick stands behind it.
    { media-worker-large = "media-worker" },
  )

  # Two hours of video from the largest that is taken need 8,062 seconds of a core, and its two go to two steps at once.
  of_large_media = { KINSTREAM_MEDIA_QUEUES = "media-large", KINSTREAM_MEDIA_TASK_LIMIT_SECONDS = "10800" }

  # What tells services of one kind apart.
  environment_of_services = merge(
    { for name, processor in local.processor_services : name => { KINSTREAM_PROCESSORS = processor } },
    { media-worker = { KINSTREAM_MEDIA_QUEUES = "media" }, media-worker-large = local.of_large_media },
  )

  # No settings: what tells services apart, and what a value in SSM would show to everybody.
  not_settings = concat(["KINSTREAM_PROCESSORS", "KINSTREAM_MEDIA_QUEUES", "KINSTREAM_READY_FILE"], keys(local.secrets))

  running = var.run_services ? local.kinds : {}

  stop_timeout_seconds = {
    ingest-api          = 30
    session-worker      = 30
    media-worker        = 120
    recommender-trigger = 30
  }

  size_of_kind = {
    ingest-api          = { cpu = 1024, memory_mb = 2048, disk_gb = 21 }
    session-worker      = { cpu = 512, memory_mb = 1024, disk_gb = 21 }
    media-worker        = { cpu = 2048, memory_mb = 4096, disk_gb = 40 }
    recommender-trigger = { cpu = 256, memory_mb = 512, disk_gb = 21 }
  }

  # A processor's message is a chunk: of 100 events, the most, it takes the slowest processor 0.0175 s as measured (of 20 it
  # takes 0.005 s, see docs/capacity.md), and a seventh is in reserve. A message of media is minutes of work.
  scaling_of_kind = {
    ingest-api          = { min_tasks = 2, max_tasks = 20 }
    session-worker      = { min_tasks = 1, max_tasks = 20, seconds_per_message = 0.02, max_delay_seconds = 30 }
    media-worker        = { min_tasks = 1, max_tasks = 10, seconds_per_message = 20, max_delay_seconds = 300 }
    recommender-trigger = { min_tasks = 1, max_tasks = 1 }
  }

  queues_of_services = merge(
    {
      ingest-api          = []
      media-worker        = ["${var.prefix}-uploads", "${var.prefix}-media"]
      media-worker-large  = ["${var.prefix}-media-large"]
      recommender-trigger = []
    },
    { for service, processor in local.processor_services : service => ["${var.prefix}-processor-${processor}"] },
  )

  # A release that gives messages up goes back. One that begins while the alarm rings, as to mend that, is not held to it (by ECS).
  dead_letter_alarms = {
    for queue in concat(values(module.processor_queue), values(module.media_queue), [module.uploads_queue]) :
    queue.name => queue.alarms.dead_letters
  }
  rollback_alarms = {
    for service, queues in local.queues_of_services : service => [for name in queues : local.dead_letter_alarms[name]]
  }

  # What the environment says goes before what the kind has: of a processor, or of all of them.
  sizes = {
    for name, kind in local.kinds : name => merge(
      local.size_of_kind[kind],
      lookup(var.sizes, kind, {}),
      lookup(var.sizes, name, {}),
    )
  }

  scaling = {
    for name, kind in local.kinds : name => merge(
      local.scaling_of_kind[kind],
      lookup(var.scaling, kind, {}),
      name == "media-worker-large" ? { min_tasks = 0, seconds_per_message = 300, max_delay_seconds = 1800 } : {},
      lookup(var.scaling, name, {}),
    )
  }
}

# By queue what all tasks that there may ever be work through in the delay that is allowed: of more, some comes late,
# however much the service grows.
locals {
  most_waiting = merge([
    for service, queues in local.queues_of_services : {
      for queue in queues : queue => ceil(
        local.scaling[service].max_tasks * local.scaling[service].max_delay_seconds / local.scaling[service].seconds_per_message
      )
    }
  ]...)
}

resource "aws_ecs_cluster" "this" {
  name = var.prefix

  # RunningTaskCount, which scaling and alarms go by, comes from it.
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

module "service" {
  source   = "../service"
  for_each = local.running

  prefix               = var.prefix
  name                 = each.key
  region               = var.region
  account_id           = var.account_id
  cluster_name         = aws_ecs_cluster_capacity_providers.this.cluster_name
  image                = local.images[each.value]
  parameters           = local.parameter_arns[each.value]
  secrets              = { for name in local.secrets_of_services[each.value] : name => aws_secretsmanager_secret.this[name].arn }
  environment          = lookup(local.environment_of_services, each.key, {})
  policy               = local.policies[each.key]
  trust_policy         = data.aws_iam_policy_document.tasks_trust.json
  permissions_boundary = var.permissions_boundary
  size                 = local.sizes[each.key]
  architecture         = var.architecture
  writable             = merge({ tmp = "/tmp" }, each.value == "media-worker" ? { work = "/work" } : {})
  spot_share           = each.value == "ingest-api" ? 0 : var.spot_share
  on_demand_tasks      = min(1, local.scaling[each.key].min_tasks)
  stop_timeout_seconds = local.stop_timeout_seconds[each.value]
  scaling              = merge(local.scaling[each.key], { queue_names = local.queues_of_services[each.key] })
  autoscaling          = !var.lacks.autoscaling
  rollback_alarms      = each.value == "ingest-api" ? module.observability.api_error_alarms : local.rollback_alarms[each.key]
  log_retention_days   = var.log_retention_days
  sidecars             = local.sidecars
  search               = var.search == null ? null : { endpoint = one(module.search[*].endpoint) }

  # From names, so that a plan shows the policies whole.
  readable = {
    repositories = concat(
      ["arn:aws:ecr:${var.region}:${var.account_id}:repository/${var.prefix}/${each.value}"],
      var.sidecars.repository_arns,
    )
    parameters = [
      for folder in ["shared", each.value] :
      "arn:aws:ssm:${var.region}:${var.account_id}:parameter/${var.prefix}/${folder}/*"
    ]
    # Secrets Manager adds six characters of its own.
    secrets = [
      for name in local.secrets_of_services[each.value] :
      "arn:aws:secretsmanager:${var.region}:${var.account_id}:secret:${var.prefix}/${local.secrets[name].name}-??????"
    ]
  }

  vpc = {
    subnet_ids = module.network.private_subnet_ids
    # Read off a rule, so that no task starts before the rules are there.
    security_group_id = aws_vpc_security_group_egress_rule.vpc["${each.value}-443"].security_group_id
  }

  listener = each.value != "ingest-api" ? null : {
    port             = local.api_port
    target_group_arn = module.api.target_group_arn
  }
}
