resource "aws_sns_topic" "this" {
  # checkov:skip=CKV_AWS_26:SNS keeps nothing but what it is sending; CloudWatch could not raise alarms on an AWS key
  for_each = local.topics

  name = "${var.prefix}-${each.key}"
}

module "processor_queue" {
  source   = "../queue"
  for_each = local.processors

  name                       = "${var.prefix}-processor-${each.key}"
  visibility_timeout_seconds = each.value.visibility_timeout_seconds
  max_receive_count          = each.value.max_receive_count
  topic                      = { arn = aws_sns_topic.this["events"].arn }
  types                      = each.value.handles
  most_waiting               = local.most_waiting["${var.prefix}-processor-${each.key}"]
  alarm_topic_arn            = aws_sns_topic.this["operations"].arn
  refuse_plain_http          = !var.lacks.tls
}

module "uploads_queue" {
  source = "../queue"

  name                       = "${var.prefix}-uploads"
  visibility_timeout_seconds = 60
  bucket_arn                 = "arn:aws:s3:::${var.prefix}-uploads"
  oldest_message_seconds     = 300
  most_waiting               = local.most_waiting["${var.prefix}-uploads"]
  alarm_topic_arn            = aws_sns_topic.this["operations"].arn
  refuse_plain_http          = !var.lacks.tls
}

# EMR's own word on clusters and job runs, for whoever follows them.
module "emr_events_queue" {
  source = "../queue"

  name                       = "${var.prefix}-emr-events"
  visibility_timeout_seconds = 30
  rule_arns                  = values(module.training.rule_arns)
  most_waiting               = 100 # a run is eight or so
  alarm_topic_arn            = aws_sns_topic.this["operations"].arn
  refuse_plain_http          = !var.lacks.tls
}

module "media_queue" {
  source   = "../queue"
  for_each = toset(["media", "media-large"])

  name                       = "${var.prefix}-${each.key}"
  visibility_timeout_seconds = 120
  oldest_message_seconds     = 3600
  most_waiting               = local.most_waiting["${var.prefix}-${each.key}"]
  alarm_topic_arn            = aws_sns_topic.this["operations"].arn
  refuse_plain_http          = !var.lacks.tls
}
