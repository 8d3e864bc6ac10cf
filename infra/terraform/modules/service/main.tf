# One service on ECS: its log, its tasks, and how many of them.

locals {
  full_name = "${var.prefix}-${var.name}"

  # A maximum below the minimum would be refused in the middle of an apply.
  min_tasks = var.scaling.min_tasks
  max_tasks = max(var.scaling.min_tasks, var.scaling.max_tasks, 1)

  # Without scaling nobody would ever wake what sleeps.
  first_tasks = var.autoscaling ? local.min_tasks : max(1, local.min_tasks)

  spot_weight = floor(100 * var.spot_share + 0.5)
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158:logs hold no personal data; CloudWatch's own key is enough
  # checkov:skip=CKV_AWS_338:of use for weeks, not for a year
  name              = "/${var.prefix}/${var.name}"
  retention_in_days = var.log_retention_days
}

resource "aws_ecs_service" "this" {
  name                   = var.name
  cluster                = var.cluster_name
  task_definition        = aws_ecs_task_definition.this.arn
  desired_count          = local.first_tasks
  platform_version       = "1.4.0"
  enable_execute_command = false
  propagate_tags         = "SERVICE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = var.listener == null ? null : 90

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = var.on_demand_tasks
    weight            = 100 - local.spot_weight
  }

  dynamic "capacity_provider_strategy" {
    for_each = var.spot_share > 0 ? [1] : []

    content {
      capacity_provider = "FARGATE_SPOT"
      weight            = local.spot_weight
    }
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  dynamic "alarms" {
    for_each = length(var.rollback_alarms) > 0 ? [1] : []

    content {
      enable      = true
      rollback    = true
      alarm_names = var.rollback_alarms
    }
  }

  network_configuration {
    subnets          = var.vpc.subnet_ids
    security_groups  = [var.vpc.security_group_id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = var.listener[*]

    content {
      target_group_arn = load_balancer.value.target_group_arn
      container_name   = var.name
      container_port   = load_balancer.value.port
    }
  }

  # Scaling sets the number from then on.
  lifecycle {
    ignore_changes = [desired_count]
  }

  # A task that starts before its roles may do anything fails, and the circuit breaker counts it.
  depends_on = [aws_iam_role_policy.task, aws_iam_role_policy.execution]
}
