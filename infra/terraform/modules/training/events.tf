# EventBridge tells of every change of our clusters and job runs; best effort, so the scheduler looks as well.

locals {
  # Steps are called like their clusters.
  patterns = {
    emr-clusters = {
      source      = ["aws.emr"]
      detail-type = ["EMR Cluster State Change", "EMR Step Status Change"]
      detail      = { name = [{ prefix = "${var.prefix}-training-" }] }
    }
    emr-job-runs = {
      source      = ["aws.emr-serverless"]
      detail-type = ["EMR Serverless Job Run State Change"]
      detail      = { jobRunName = [{ prefix = "${var.prefix}-training-" }] }
    }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.patterns

  name          = "${var.prefix}-${each.key}"
  description   = "What training runs on has changed."
  event_pattern = jsonencode(each.value)
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.patterns

  rule      = aws_cloudwatch_event_rule.this[each.key].name
  target_id = "queue"
  arn       = var.events_queue_arn
}
