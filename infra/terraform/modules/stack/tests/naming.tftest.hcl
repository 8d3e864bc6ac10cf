# Names, and that processors need no hand edit, without any AWS.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:mock" }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:mock" }
  }

  mock_resource "aws_ssm_parameter" {
    defaults = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/mock" }
  }

  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mock" }
  }

  mock_resource "aws_db_instance" {
    defaults = {
      master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-mock" }]
    }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/mock:1" }
  }

  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mock/1" }
  }

  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/mock/1" }
  }

  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/mock/1/2" }
  }

  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/mock/1" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }
  }

  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:mock" }
  }
}

variables {
  prefix          = "kin"
  region          = "eu-west-1"
  account_id      = "123456789012"
  zones           = ["eu-west-1a", "eu-west-1b"]
  processors_file = "tests/processors.json"
  image_tag       = "abc"
}

run "a_processor_in_the_file_has_queue_service_and_maximum" {
  variables {
    scaling = { session-worker = { max_tasks = 7 }, session-worker-weather = { max_tasks = 3 } }
  }

  assert {
    condition     = module.processor_queue["weather"].name == "kin-processor-weather"
    error_message = "its queue"
  }

  assert {
    condition     = toset(keys(module.service)) == toset(["ingest-api", "media-worker", "media-worker-large", "recommender-trigger", "session-worker-weather", "session-worker-files"])
    error_message = "a service for each processor beside the three others"
  }

  assert {
    condition     = output.scaling["session-worker-weather"].max_tasks == 3 && output.scaling["session-worker-files"].max_tasks == 7
    error_message = "what is said of one goes before what is said of all"
  }
}

run "a_queue_is_too_deep_when_all_its_tasks_do_not_work_it_off_in_time" {
  variables {
    scaling = {
      session-worker-weather = { max_tasks = 3, seconds_per_message = 0.5, max_delay_seconds = 60 }
      session-worker-files   = { max_tasks = 7, seconds_per_message = 0.5, max_delay_seconds = 60 }
    }
  }

  assert {
    condition     = local.most_waiting["kin-processor-weather"] == 360 && local.most_waiting["kin-processor-files"] == 840
    error_message = "tasks times what one works through in the delay that is allowed"
  }

  assert {
    condition     = module.emr_events_queue.alarms.depth == "kin-emr-events-deep"
    error_message = "and every queue has the alarm"
  }
}

run "names_begin_with_the_prefix" {
  assert {
    condition     = alltrue([for name in values(module.storage.table_names) : startswith(name, "kin-")])
    error_message = "tables"
  }

  assert {
    condition     = aws_ecs_cluster.this.name == "kin" && aws_sns_topic.this["events"].name == "kin-events"
    error_message = "cluster and topics"
  }

  assert {
    condition     = alltrue([for parameter in aws_ssm_parameter.this : startswith(parameter.name, "/kin/")])
    error_message = "parameters"
  }
}

run "before_images_and_secrets_are_there_nothing_runs" {
  variables {
    run_services = false
  }

  assert {
    condition     = length(module.service) == 0 && length(module.processor_queue) == 2
    error_message = "everything but the services"
  }
}

run "a_prefix_that_names_no_bucket_is_refused" {
  command = plan

  variables {
    prefix = "Kin_Stream"
  }

  expect_failures = [var.prefix]
}

run "a_service_that_there_is_not_is_refused" {
  command = plan

  variables {
    scaling = { session-worker-wether = { max_tasks = 3 } }
  }

  expect_failures = [var.scaling]
}

run "a_setting_of_nobody_is_refused" {
  command = plan

  variables {
    settings = { ingest = { KINSTREAM_LOG_LEVEL = "DEBUG" } }
  }

  expect_failures = [var.settings]
}

run "a_setting_that_is_terraforms_own_is_refused" {
  command = plan

  variables {
    settings = { media-worker = { KINSTREAM_MEDIA_QUEUES = "media" } }
  }

  expect_failures = [var.settings]
}

run "a_secret_is_no_setting" {
  command = plan

  variables {
    settings = { ingest-api = { KINSTREAM_MEDIA_URL_KEY = "seen-by-everybody" } }
  }

  expect_failures = [var.settings]
}

run "training_is_on_clusters_or_on_emr_serverless" {
  variables {
    emr_serverless = { cpu = "8 vCPU" }
  }

  assert {
    condition     = aws_ssm_parameter.this["recommender-trigger/KINSTREAM_LAUNCHER"].value == "emr-serverless"
    error_message = "what the trigger launches by"
  }

  assert {
    condition     = contains(keys(aws_ssm_parameter.this), "recommender-trigger/KINSTREAM_EMR_SERVERLESS_APPLICATION_ID")
    error_message = "the application that it launches on"
  }
}

run "migrating_reads_the_administrators_secret_that_rds_manages" {
  assert {
    condition = alltrue([
      for name, key in { KINSTREAM_CATALOG_ADMIN_USER = "username", KINSTREAM_CATALOG_ADMIN_PASSWORD = "password" } :
      contains(
        jsondecode(aws_ecs_task_definition.migrate.container_definitions)[0].secrets,
        { name = name, valueFrom = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-mock:${key}::" },
      )
    ])
    error_message = "its name and its password"
  }

  assert {
    condition     = output.catalog.administrator_secret == "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-mock"
    error_message = "and no other is told"
  }
}

run "a_managed_password_is_in_no_secret_of_ours" {
  module {
    source = "../catalog"
  }

  variables {
    vpc_id                    = "vpc-1"
    subnet_ids                = ["subnet-1", "subnet-2"]
    client_security_group_ids = {}
  }

  assert {
    condition     = length(aws_secretsmanager_secret.administrator) == 0 && length(aws_secretsmanager_secret_version.administrator) == 0
    error_message = "no secret catalog-administrator"
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password == true && aws_db_instance.this.password == null
    error_message = "RDS makes the password"
  }
}
