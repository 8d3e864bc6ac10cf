# Everything a service reads from its environment is an SSM parameter or a secret. Terraform sets what follows
# from the infrastructure; `settings` adds to it, and a person puts the secrets' values.

locals {
  api_port = 8080

  settings_of_all = {
    shared = {
      KINSTREAM_NAME_PREFIX    = var.prefix
      KINSTREAM_AWS_REGION     = var.region
      KINSTREAM_AWS_ACCOUNT_ID = var.account_id
    }
    ingest-api = {
      KINSTREAM_HTTP_HOST              = "0.0.0.0"
      KINSTREAM_HTTP_PORT              = tostring(local.api_port)
      KINSTREAM_REDIS_URL              = module.cache.url
      KINSTREAM_SHUTDOWN_GRACE_SECONDS = tostring(local.stop_timeout_seconds.ingest-api - 5)
    }
    session-worker = {
      KINSTREAM_SHUTDOWN_GRACE_SECONDS = tostring(local.stop_timeout_seconds.session-worker - 5)
    }
    media-worker = {
      KINSTREAM_REDIS_URL              = module.cache.url
      KINSTREAM_SHUTDOWN_GRACE_SECONDS = tostring(local.stop_timeout_seconds.media-worker - 10)
      KINSTREAM_MEDIA_WORK_DIR         = "/work"
    }
    recommender-trigger = {
      KINSTREAM_SHUTDOWN_GRACE_SECONDS = tostring(local.stop_timeout_seconds.recommender-trigger - 5)
      KINSTREAM_LAUNCHER               = var.emr_serverless == null ? "emr" : "emr-serverless"
      KINSTREAM_EMR_SERVICE_ROLE       = module.training.service_role
      KINSTREAM_EMR_INSTANCE_PROFILE   = module.training.instance_profile
      # EMR's events come at once; looking is for those that do not.
      KINSTREAM_TRAINING_POLL_SECONDS = "30"
    }
  }

  settings_of_serverless = var.emr_serverless == null ? {} : {
    KINSTREAM_EMR_SERVERLESS_APPLICATION_ID = module.training.serverless_application_id
    KINSTREAM_EMR_SERVERLESS_ROLE_ARN       = module.training.serverless_role_arn
  }

  # SSM takes no empty value.
  settings_of_emr = merge(
    local.settings_of_serverless,
    length(var.emr_subnet_ids) == 0 ? {} : { KINSTREAM_EMR_SUBNET_IDS = join(",", var.emr_subnet_ids) },
    var.lacks.emr_security_configuration ? {} : { KINSTREAM_EMR_SECURITY_CONFIGURATION = module.training.security_configuration },
  )

  settings = {
    for service, settings in local.settings_of_all : service => merge(
      settings,
      service == "recommender-trigger" ? local.settings_of_emr : {},
      lookup(var.settings, service, {}),
    )
  }

  # The names alone, which are known before the values are.
  parameters = merge([
    for service, settings in local.settings : { for name in keys(settings) : "${service}/${name}" => { service = service, name = name } }
  ]...)

  # Those of all, and over them its own.
  parameter_arns = {
    for service in keys(local.images) : service => merge(
      { for name in keys(local.settings.shared) : name => aws_ssm_parameter.this["shared/${name}"].arn },
      { for name in keys(local.settings[service]) : name => aws_ssm_parameter.this["${service}/${name}"].arn },
    )
  }

  secrets = {
    KINSTREAM_LEDGER_HASH_KEY = { name = "ledger-hash-key", about = "Secret of the ledger's hashes: never to be changed." }
    KINSTREAM_MEDIA_URL_KEY   = { name = "media-url-key", about = "Secret of signed URLs, 32 characters or more; NEW,OLD while it is replaced." }
    KINSTREAM_CATALOG_URL     = { name = "catalog-url", about = "postgresql://USER:PASSWORD@HOST:5432/kinstream?sslmode=require" }
  }

  secrets_of_services = {
    ingest-api          = ["KINSTREAM_CATALOG_URL", "KINSTREAM_MEDIA_URL_KEY"]
    session-worker      = ["KINSTREAM_LEDGER_HASH_KEY"]
    media-worker        = ["KINSTREAM_CATALOG_URL"]
    recommender-trigger = []
  }
}

resource "aws_ssm_parameter" "this" {
  # checkov:skip=CKV2_AWS_34:settings are no secrets; those are in Secrets Manager
  for_each = local.parameters

  name  = "/${var.prefix}/${each.key}"
  type  = "String"
  value = local.settings[each.value.service][each.value.name]
}

resource "aws_secretsmanager_secret" "this" {
  # checkov:skip=CKV_AWS_149:Secrets Manager's own key; whoever may read is bounded by role
  # checkov:skip=CKV2_AWS_57:a new hash key would make every counted event look new; how the others are replaced: docs/operations.md
  for_each = local.secrets

  name                    = "${var.prefix}/${each.value.name}"
  description             = each.value.about
  recovery_window_in_days = var.keep ? 30 : 0
}
