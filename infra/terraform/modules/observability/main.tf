# Alarms beside those of the queues; each says where its entry in the runbook is.

locals {
  runbook = "Runbook: docs/operations.md"

  # name => what is watched. One breach of `threshold` in all of `periods` minutes.
  alarms = merge(
    {
      api-errors = {
        about       = "The API answers 5xx"
        anchor      = "api-errors"
        namespace   = "AWS/ApplicationELB"
        metric_name = "HTTPCode_Target_5XX_Count"
        dimensions  = { LoadBalancer = var.load_balancer.load_balancer }
        statistic   = "Sum"
        threshold   = 20
        periods     = 2
      }
      # Its own 502, 503 and 504: tasks that crash, break connections or are not there.
      api-unreachable = {
        about       = "The load balancer finds nobody who answers"
        anchor      = "api-unreachable"
        namespace   = "AWS/ApplicationELB"
        metric_name = "HTTPCode_ELB_5XX_Count"
        dimensions  = { LoadBalancer = var.load_balancer.load_balancer }
        statistic   = "Sum"
        threshold   = 20
        periods     = 2
      }
      api-slow = {
        about       = "One request in a hundred takes over a second"
        anchor      = "api-slow"
        namespace   = "AWS/ApplicationELB"
        metric_name = "TargetResponseTime"
        dimensions  = { LoadBalancer = var.load_balancer.load_balancer }
        statistic   = "p99"
        threshold   = 1
        periods     = 5
      }
      api-unhealthy = {
        about       = "A task of the API is not ready"
        anchor      = "api-unhealthy"
        namespace   = "AWS/ApplicationELB"
        metric_name = "UnHealthyHostCount"
        dimensions = {
          LoadBalancer = var.load_balancer.load_balancer
          TargetGroup  = var.load_balancer.target_group
        }
        statistic = "Minimum"
        threshold = 0
        periods   = 5
      }
      events-undelivered = {
        about       = "SNS could not give events to a queue"
        anchor      = "events-undelivered"
        namespace   = "AWS/SNS"
        metric_name = "NumberOfNotificationsFailed"
        dimensions  = { TopicName = var.events_topic }
        statistic   = "Sum"
        threshold   = 0
        periods     = 1
      }
      catalog-cpu = {
        about       = "The catalog is busy"
        anchor      = "catalog-busy"
        namespace   = "AWS/RDS"
        metric_name = "CPUUtilization"
        dimensions  = { DBInstanceIdentifier = var.catalog_id }
        statistic   = "Average"
        threshold   = 80
        periods     = 10
      }
    },
    {
      for name, table in var.tables : "${name}-throttled" => {
        about       = "DynamoDB throttles the table ${table}"
        anchor      = "table-throttled"
        namespace   = "AWS/DynamoDB"
        metric_name = "WriteThrottleEvents"
        dimensions  = { TableName = table }
        statistic   = "Sum"
        threshold   = 100
        periods     = 3
      }
    },
    # Told by the workers themselves, so only where a collector runs beside them; it names the meter.
    !var.has_collector ? {} : {
      journal-age = {
        about       = "Likes and views wait to be added to their counters"
        anchor      = "counters-of-contents-stand-still"
        namespace   = var.prefix
        metric_name = "kinstream.journal.age"
        dimensions  = { OTelLib = "kinstream" }
        statistic   = "Maximum"
        threshold   = 300
        periods     = 5
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.prefix}-${each.key}"
  alarm_description   = "${each.value.about}. ${local.runbook}#${each.value.anchor}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric_name
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  period              = 60
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "catalog_disk" {
  alarm_name          = "${var.prefix}-catalog-disk"
  alarm_description   = "The catalog has less than 2 GB of disk left. ${local.runbook}#catalog-disk"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = { DBInstanceIdentifier = var.catalog_id }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 2 * pow(1024, 3)
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# Where a service should run and does not: the metric goes away with its last task.
resource "aws_cloudwatch_metric_alarm" "tasks" {
  for_each = { for name, fewest in var.services : name => fewest if fewest > 0 }

  alarm_name          = "${var.prefix}-${each.key}-tasks"
  alarm_description   = "Fewer tasks of ${each.key} run than should. ${local.runbook}#too-few-tasks"
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  dimensions          = { ClusterName = var.cluster_name, ServiceName = each.key }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 10
  comparison_operator = "LessThanThreshold"
  threshold           = each.value
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# One word for what people feel, however many queues and services are behind it.
resource "aws_cloudwatch_composite_alarm" "this" {
  for_each = {
    events-late = {
      about  = "Events or uploads are worked on late"
      anchor = "events-late"
      rule   = join(" OR ", [for queue in var.queues : "ALARM(\"${queue.alarms.oldest_message}\")" if queue.is_felt])
    }
    data-set-aside = {
      about  = "Messages were given up and wait for a person"
      anchor = "dead-letters"
      rule   = join(" OR ", [for queue in var.queues : "ALARM(\"${queue.alarms.dead_letters}\")"])
    }
    api-down = {
      about  = "The API fails, not only one of its tasks"
      anchor = "api-down"
      rule = join(" OR ", [
        "ALARM(\"${var.prefix}-api-unreachable\")",
        "(ALARM(\"${var.prefix}-api-errors\") AND ALARM(\"${var.prefix}-api-unhealthy\"))",
      ])
    }
  }

  alarm_name        = "${var.prefix}-${each.key}"
  alarm_description = "${each.value.about}. ${local.runbook}#${each.value.anchor}"
  alarm_rule        = each.value.rule
  alarm_actions     = [var.alarm_topic_arn]
  ok_actions        = [var.alarm_topic_arn]

  depends_on = [aws_cloudwatch_metric_alarm.this]
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = var.alarm_topic_arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_budgets_budget" "this" {
  count = var.budget == null ? 0 : 1

  name         = var.prefix
  account_id   = var.account_id
  budget_type  = "COST"
  limit_amount = tostring(var.budget)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = var.alarm_email == null ? {} : { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type          = notification.key
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = [var.alarm_email]
    }
  }
}
