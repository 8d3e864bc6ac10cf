# How many tasks. Workers follow the backlog that each task has; what serves requests follows the CPU.

locals {
  follows_queue = length(var.scaling.queue_names) > 0

  # As many messages as one task works through in the delay that is allowed.
  backlog_per_task = max(1, floor(var.scaling.max_delay_seconds / var.scaling.seconds_per_message))

  # Messages that are held count as well: while there is work under way nobody is scaled in for lack of it.
  queue_metrics = ["ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"]

  backlog_metrics = local.follows_queue ? {
    for pair in setproduct(range(length(var.scaling.queue_names)), range(length(local.queue_metrics))) :
    "m${pair[0]}${pair[1]}" => { queue = var.scaling.queue_names[pair[0]], metric = local.queue_metrics[pair[1]] }
  } : {}

  backlog      = "(${join(" + ", sort(keys(local.backlog_metrics)))})"
  per_task     = "${local.backlog} / IF(FILL(running, 0) > 0, FILL(running, 0), 1)"
  wakes_up     = "IF(FILL(running, 0) < 1, ${local.backlog}, 0)"
  sleeps       = var.autoscaling && local.follows_queue && local.min_tasks == 0
  running_tags = { ClusterName = var.cluster_name, ServiceName = var.name }
}

resource "aws_appautoscaling_target" "this" {
  count = var.autoscaling ? 1 : 0

  service_namespace  = "ecs"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.this.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = local.min_tasks
  max_capacity       = local.max_tasks
}

resource "aws_appautoscaling_policy" "backlog" {
  count = var.autoscaling && local.follows_queue ? 1 : 0

  name               = "backlog-per-task"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = local.backlog_per_task
    scale_in_cooldown  = var.scaling.in_after_seconds
    scale_out_cooldown = var.scaling.out_after_seconds

    customized_metric_specification {
      dynamic "metrics" {
        for_each = local.backlog_metrics

        content {
          id          = metrics.key
          return_data = false

          metric_stat {
            stat = "Average"

            metric {
              namespace   = "AWS/SQS"
              metric_name = metrics.value.metric

              dimensions {
                name  = "QueueName"
                value = metrics.value.queue
              }
            }
          }
        }
      }

      metrics {
        id          = "running"
        return_data = false

        metric_stat {
          stat = "Average"

          metric {
            namespace   = "ECS/ContainerInsights"
            metric_name = "RunningTaskCount"

            dynamic "dimensions" {
              for_each = local.running_tags

              content {
                name  = dimensions.key
                value = dimensions.value
              }
            }
          }
        }
      }

      metrics {
        id          = "backlog_per_task"
        label       = "Messages a task"
        expression  = local.per_task
        return_data = true
      }
    }
  }
}

# Target tracking multiplies what is running, and nothing times anything is nothing: from zero a step is needed.
resource "aws_appautoscaling_policy" "wake" {
  count = local.sleeps ? 1 : 0

  name               = "wake"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type = "ExactCapacity"
    cooldown        = 60

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "wake" {
  # checkov:skip=CKV_AWS_319:its action is the policy that wakes the service
  count = local.sleeps ? 1 : 0

  alarm_name          = "${local.full_name}-wake"
  alarm_description   = "Starts a task of ${var.name} when there is work and none runs. No runbook: it acts by itself."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.wake[0].arn]

  dynamic "metric_query" {
    for_each = local.backlog_metrics

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value.metric
        period      = 60
        stat        = "Maximum"
        dimensions  = { QueueName = metric_query.value.queue }
      }
    }
  }

  metric_query {
    id = "running"

    metric {
      namespace   = "ECS/ContainerInsights"
      metric_name = "RunningTaskCount"
      period      = 60
      stat        = "Maximum"
      dimensions  = local.running_tags
    }
  }

  metric_query {
    id          = "asleep_with_work"
    label       = "Messages while nothing runs"
    expression  = local.wakes_up
    return_data = true
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  count = var.autoscaling && !local.follows_queue && local.max_tasks > local.min_tasks ? 1 : 0

  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[0].service_namespace
  resource_id        = aws_appautoscaling_target.this[0].resource_id
  scalable_dimension = aws_appautoscaling_target.this[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.scaling.cpu_percent
    scale_in_cooldown  = var.scaling.in_after_seconds
    scale_out_cooldown = var.scaling.out_after_seconds

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
