locals {
  ready_file = "/tmp/ready"

  to_cloudwatch = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.this.name
      awslogs-region        = var.region
      awslogs-stream-prefix = var.name
      # A service must not stand still because its log does.
      mode            = "non-blocking"
      max-buffer-size = "4m"
    }
  }

  to_search = {
    logDriver = "awsfirelens"
    options = {
      Name       = "opensearch"
      Host       = var.search == null ? "unused" : var.search.endpoint
      Port       = "443"
      AWS_Auth   = "On"
      AWS_Region = var.region
      tls        = "On"
      # As `kinstream logs` sets them up and looks for them.
      Logstash_Format    = "On"
      Logstash_Prefix    = "kinstream-logs"
      Generate_ID        = "On"
      Suppress_Type_Name = "On"
    }
  }

  to_router = {
    logDriver = "awsfirelens"
    options = {
      Name              = "cloudwatch_logs"
      region            = var.region
      log_group_name    = aws_cloudwatch_log_group.this.name
      log_stream_prefix = "${var.name}/"
    }
  }

  has_router   = var.sidecars.log_router != null
  has_adot     = var.sidecars.adot != null
  to_adot      = local.has_adot ? { KINSTREAM_OTLP_ENDPOINT = "http://127.0.0.1:4318" } : {}
  log_settings = jsonencode(!local.has_router ? local.to_cloudwatch : var.search == null ? local.to_router : local.to_search)

  environment = [
    for name, value in merge({ KINSTREAM_READY_FILE = local.ready_file }, local.to_adot, var.environment) :
    { name = name, value = value }
  ]

  service_container = {
    name                   = var.name
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = var.stop_timeout_seconds
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    mountPoints            = [for name, path in var.writable : { sourceVolume = name, containerPath = path, readOnly = false }]
    logConfiguration       = jsondecode(local.log_settings)

    environment = local.environment

    # ECS refuses a variable that is told twice: what belongs to the task itself goes before a setting.
    secrets = [
      for name, arn in merge(var.parameters, var.secrets) :
      { name = name, valueFrom = arn } if !contains(local.environment[*].name, name)
    ]

    healthCheck = {
      command     = ["CMD-SHELL", "test -f ${local.ready_file}"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 90
    }

    portMappings = [
      for listener in var.listener[*] :
      { containerPort = listener.port, hostPort = listener.port, protocol = "tcp" }
    ]

    # Logs have somewhere to go before there are any.
    dependsOn = local.has_router ? [{ containerName = "log-router", condition = "START" }] : []
  }

  # Traces to X-Ray; numbers into the service's own log group, from which CloudWatch makes metrics.
  adot_config = {
    receivers  = { otlp = { protocols = { http = { endpoint = "127.0.0.1:4318" } } } }
    processors = { batch = {} }
    exporters = {
      awsxray = { region = var.region }
      awsemf  = { region = var.region, namespace = var.prefix, log_group_name = aws_cloudwatch_log_group.this.name, log_stream_name = "metrics" }
    }
    service = {
      pipelines = {
        traces  = { receivers = ["otlp"], processors = ["batch"], exporters = ["awsxray"] }
        metrics = { receivers = ["otlp"], processors = ["batch"], exporters = ["awsemf"] }
      }
    }
  }

  adot_container = {
    name                   = "adot"
    image                  = var.sidecars.adot
    essential              = false
    readonlyRootFilesystem = true
    environment            = [{ name = "AOT_CONFIG_CONTENT", value = yamlencode(local.adot_config) }]
    memoryReservation      = 64
    logConfiguration       = local.to_cloudwatch
  }

  router_container = {
    name              = "log-router"
    image             = var.sidecars.log_router
    essential         = true
    memoryReservation = 64
    # Outlives the service, so that its last words arrive.
    stopTimeout = min(120, var.stop_timeout_seconds + 10)
    firelensConfiguration = {
      type = "fluentbit"
      options = {
        enable-ecs-log-metadata = "true"
        # The image's own: a line of JSON becomes fields, by which it is found.
        config-file-type  = "file"
        config-file-value = "/fluent-bit/configs/parse-json.conf"
      }
    }
    logConfiguration = local.to_cloudwatch
  }
}

resource "aws_ecs_task_definition" "this" {
  # checkov:skip=CKV_AWS_336:the service's container is read-only; Fluent Bit's own needs its buffer
  family                   = local.full_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory_mb
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  container_definitions = jsonencode(concat(
    [local.service_container],
    [for image in var.sidecars.adot[*] : local.adot_container],
    [for image in var.sidecars.log_router[*] : local.router_container],
  ))

  ephemeral_storage {
    size_in_gib = var.size.disk_gb
  }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  # The only places that a task can write to. They belong to whom the image's VOLUME says.
  dynamic "volume" {
    for_each = var.writable

    content {
      name = volume.key
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}
