# How many tasks a backlog comes to, without any AWS.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/mock:1" }
  }

  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:mock" }
  }
}

variables {
  prefix       = "kin"
  name         = "session-worker-safety"
  region       = "eu-west-1"
  account_id   = "123456789012"
  cluster_name = "kin"
  image        = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/kin/session-worker:abc"
  policy       = "{\"Version\": \"2012-10-17\", \"Statement\": []}"
  parameters   = { KINSTREAM_NAME_PREFIX = "arn:aws:ssm:eu-west-1:123456789012:parameter/kin/shared/KINSTREAM_NAME_PREFIX" }
  trust_policy = "{\"Version\": \"2012-10-17\", \"Statement\": []}"
  readable     = { repositories = [], parameters = [], secrets = [] }
  vpc          = { subnet_ids = ["subnet-1", "subnet-2"], security_group_id = "sg-1" }
}

run "a_task_is_given_what_it_can_do_in_the_delay_that_is_allowed" {
  variables {
    scaling = { queue_names = ["kin-processor-safety"], seconds_per_message = 0.05, max_delay_seconds = 30 }
  }

  assert {
    condition     = output.scaling.backlog_per_task == 600
    error_message = "30 s at 0.05 s a message are 600 messages, not ${output.scaling.backlog_per_task}"
  }

  assert {
    condition     = aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].target_value == 600
    error_message = "the policy must aim at the same number"
  }
}

run "a_message_that_takes_longer_than_the_delay_still_makes_a_backlog_of_one" {
  variables {
    scaling = { queue_names = ["kin-media"], seconds_per_message = 400, max_delay_seconds = 300 }
  }

  assert {
    condition     = output.scaling.backlog_per_task == 1
    error_message = "a target of 0 would never be reached"
  }
}

run "the_division_is_guarded_and_counts_work_under_way" {
  variables {
    scaling = { queue_names = ["kin-uploads", "kin-media"] }
  }

  assert {
    condition     = output.scaling.expression == "(m00 + m01 + m10 + m11) / IF(FILL(running, 0) > 0, FILL(running, 0), 1)"
    error_message = "not ${output.scaling.expression}"
  }

  assert {
    condition = toset([
      for metric in aws_appautoscaling_policy.backlog[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics :
      metric.metric_stat[0].metric[0].metric_name if length(metric.metric_stat) > 0
    ]) == toset(["ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible", "RunningTaskCount"])
    error_message = "messages that are held must count, so that nobody is scaled in for lack of work while there is some"
  }
}

run "a_maximum_below_the_minimum_is_lifted_to_it" {
  variables {
    scaling = { queue_names = ["kin-media"], min_tasks = 4, max_tasks = 2 }
  }

  assert {
    condition     = aws_appautoscaling_target.this[0].min_capacity == 4 && aws_appautoscaling_target.this[0].max_capacity == 4
    error_message = "4 to 4 tasks"
  }
}

run "what_may_sleep_is_woken_by_a_step" {
  variables {
    scaling = { queue_names = ["kin-media"], min_tasks = 0, max_tasks = 2 }
  }

  assert {
    condition     = output.scaling.wakes_up && output.scaling.first_tasks == 0
    error_message = "a service of no tasks starts with none and can be woken"
  }

  assert {
    condition     = aws_appautoscaling_policy.wake[0].step_scaling_policy_configuration[0].adjustment_type == "ExactCapacity"
    error_message = "from zero to one, whatever the backlog"
  }
}

run "what_always_runs_needs_no_waking" {
  variables {
    scaling = { queue_names = ["kin-media"], min_tasks = 1 }
  }

  assert {
    condition     = length(aws_appautoscaling_policy.wake) == 0 && length(aws_cloudwatch_metric_alarm.wake) == 0
    error_message = "nothing to wake"
  }
}

run "what_serves_requests_follows_the_cpu" {
  variables {
    name    = "ingest-api"
    scaling = { min_tasks = 2, max_tasks = 20 }
  }

  assert {
    condition     = length(aws_appautoscaling_policy.cpu) == 1 && length(aws_appautoscaling_policy.backlog) == 0
    error_message = "no queue, no backlog"
  }
}

run "one_task_is_not_scaled" {
  variables {
    name    = "recommender-trigger"
    scaling = { min_tasks = 1, max_tasks = 1 }
  }

  assert {
    condition     = length(aws_appautoscaling_policy.cpu) == 0
    error_message = "there is nothing between 1 and 1"
  }
}

run "without_autoscaling_somebody_runs_all_the_same" {
  variables {
    autoscaling = false
    scaling     = { queue_names = ["kin-media"], min_tasks = 0 }
  }

  assert {
    condition     = output.scaling.first_tasks == 1 && length(aws_appautoscaling_target.this) == 0
    error_message = "nobody would ever wake it"
  }
}

run "spot_has_its_share_and_the_first_task_is_not_on_it" {
  variables {
    spot_share = 0.7
  }

  assert {
    condition = {
      for provider in aws_ecs_service.this.capacity_provider_strategy :
      provider.capacity_provider => "${coalesce(provider.base, 0)}/${provider.weight}"
    } == { FARGATE = "1/30", FARGATE_SPOT = "0/70" }
    error_message = "30 to 70 beyond the first"
  }
}

run "a_share_of_more_than_all_is_refused" {
  command = plan

  variables {
    spot_share = 70
  }

  expect_failures = [var.spot_share]
}

run "sidecars_come_with_what_they_need" {
  variables {
    sidecars = { adot = "kin/adot:1", log_router = "kin/fluent-bit:1" }
  }

  assert {
    condition     = [for container in jsondecode(aws_ecs_task_definition.this.container_definitions) : container.name] == ["session-worker-safety", "adot", "log-router"]
    error_message = "three containers"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].dependsOn[0].containerName == "log-router"
    error_message = "the service starts when its log has somewhere to go"
  }

  assert {
    condition     = { for one in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : one.name => one.value }["KINSTREAM_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    error_message = "the service knows its collector"
  }
}

run "no_variable_is_told_twice" {
  variables {
    environment = { KINSTREAM_PROCESSORS = "safety" }
    parameters = {
      KINSTREAM_PROCESSORS  = "arn:aws:ssm:eu-west-1:123456789012:parameter/kin/session-worker/KINSTREAM_PROCESSORS"
      KINSTREAM_NAME_PREFIX = "arn:aws:ssm:eu-west-1:123456789012:parameter/kin/shared/KINSTREAM_NAME_PREFIX"
    }
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].secrets[*].name == ["KINSTREAM_NAME_PREFIX"]
    error_message = "what belongs to the task itself goes before a setting"
  }
}
