# A queue, its dead-letter queue, who may send to it, and the alarms on both.

locals {
  # The longest that SQS has: a processor that stands still for days loses nothing.
  retention_seconds = 14 * 86400
}

resource "aws_sqs_queue" "dead_letter" {
  name                      = "${var.name}-dlq"
  message_retention_seconds = local.retention_seconds
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "this" {
  name                       = var.name
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = local.retention_seconds
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letter.arn
    maxReceiveCount     = var.max_receive_count
  })
}

data "aws_iam_policy_document" "senders" {
  count = var.topic != null || var.bucket_arn != null || length(var.rule_arns) > 0 || var.refuse_plain_http ? 1 : 0

  dynamic "statement" {
    for_each = concat(
      var.bucket_arn == null ? [] : [{ service = "s3.amazonaws.com", source = var.bucket_arn }],
      var.topic == null ? [] : [{ service = "sns.amazonaws.com", source = var.topic.arn }],
      [for arn in var.rule_arns : { service = "events.amazonaws.com", source = arn }],
    )

    content {
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "Service"
        identifiers = [statement.value.service]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [statement.value.source]
      }
    }
  }

  dynamic "statement" {
    for_each = var.refuse_plain_http ? [1] : []

    content {
      effect    = "Deny"
      actions   = ["sqs:*"]
      resources = [aws_sqs_queue.this.arn]

      principals {
        type        = "AWS"
        identifiers = ["*"]
      }

      condition {
        test     = "Bool"
        variable = "aws:SecureTransport"
        values   = ["false"]
      }
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  count     = length(data.aws_iam_policy_document.senders)
  queue_url = aws_sqs_queue.this.id
  policy    = data.aws_iam_policy_document.senders[0].json
}

resource "aws_sns_topic_subscription" "this" {
  count                = var.topic == null ? 0 : 1
  topic_arn            = var.topic.arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.this.arn
  raw_message_delivery = true
  filter_policy        = var.types == null ? null : jsonencode({ types = sort(var.types) })

  # What arrives before the queue lets the topic in is lost.
  depends_on = [aws_sqs_queue_policy.this]
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Messages that were given up lie in ${var.name}-dlq. Runbook: docs/operations.md#dead-letters"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letter.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "depth" {
  alarm_name          = "${var.name}-deep"
  alarm_description   = "More waits in ${var.name} than its readers work through in time. Runbook: docs/operations.md#deep-queue"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.this.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.most_waiting
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "oldest_message" {
  alarm_name          = "${var.name}-oldest-message"
  alarm_description   = "A message waits in ${var.name} for too long. Runbook: docs/operations.md#oldest-message"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateAgeOfOldestMessage"
  dimensions          = { QueueName = aws_sqs_queue.this.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.oldest_message_seconds
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
