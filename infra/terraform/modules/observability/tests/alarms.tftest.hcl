# What is watched where a collector tells what services measure themselves, without any AWS.

mock_provider "aws" {}

variables {
  prefix          = "kin"
  region          = "eu-west-1"
  account_id      = "123456789012"
  alarm_topic_arn = "arn:aws:sns:eu-west-1:123456789012:kin-operations"
  queues          = { uploads = { name = "kin-uploads", alarms = { dead_letters = "dead", depth = "deep", oldest_message = "old" } } }
  tables          = {}
  events_topic    = "kin-events"
  load_balancer   = { load_balancer = "app/kin-api/1", target_group = "targetgroup/kin-api/1" }
  catalog_id      = "kin-catalog"
  cluster_name    = "kin"
  services        = {}
  has_collector   = true
}

run "age_of_the_journal_is_watched_where_the_collector_puts_it" {
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["journal-age"].namespace == "kin"
      && aws_cloudwatch_metric_alarm.this["journal-age"].dimensions == tomap({ OTelLib = "kinstream" })
    )
    error_message = "the exporter's namespace, and the meter as its only dimension"
  }

  assert {
    condition = (
      endswith(aws_cloudwatch_metric_alarm.this["journal-age"].alarm_description, "#counters-of-contents-stand-still")
      && strcontains(file("../../../../docs/operations.md"), "\n### Counters of contents stand still\n")
    )
    error_message = "what to do stands in the runbook"
  }
}

run "nobody_waits_for_an_age_that_no_collector_tells" {
  variables {
    has_collector = false
  }

  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "journal-age")
    error_message = "no alarm"
  }
}
