# A task that a person, or a release, runs once: it makes the catalog's user and brings its tables up to date.

locals {
  migrate_name = "${var.prefix}-migrate"

  # Ends when its work is done, and calls nothing of AWS: it has no role of its own.
  migrate_container = {
    name                   = "migrate"
    image                  = local.images["ingest-api"]
    command                = ["python", "-m", "kinstream.catalog"]
    essential              = true
    readonlyRootFilesystem = true
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.migrate.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "migrate"
      }
    }

    secrets = [
      { name = "KINSTREAM_CATALOG_URL", valueFrom = aws_secretsmanager_secret.this["KINSTREAM_CATALOG_URL"].arn },
      { name = "KINSTREAM_CATALOG_ADMIN_USER", valueFrom = "${module.catalog.administrator_secret_arn}:username::" },
      { name = "KINSTREAM_CATALOG_ADMIN_PASSWORD", valueFrom = "${module.catalog.administrator_secret_arn}:password::" },
    ]
  }
}

resource "aws_cloudwatch_log_group" "migrate" {
  # checkov:skip=CKV_AWS_158:it holds version numbers of tables; CloudWatch's own key is enough
  # checkov:skip=CKV_AWS_338:of use for weeks, not for a year
  name              = "/${var.prefix}/migrate"
  retention_in_days = var.log_retention_days
}

resource "aws_iam_role" "migrate" {
  name                 = "${local.migrate_name}-execution"
  assume_role_policy   = data.aws_iam_policy_document.tasks_trust.json
  permissions_boundary = var.permissions_boundary
}

data "aws_iam_policy_document" "migrate" {
  # A token is for the whole registry; what can be pulled with it is in the next statement.
  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:aws:ecr:${var.region}:${var.account_id}:repository/${var.prefix}/ingest-api"]
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.prefix}/migrate:*"]
  }

  statement {
    sid       = "ReadCatalogUrl"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = ["arn:aws:secretsmanager:${var.region}:${var.account_id}:secret:${var.prefix}/${local.secrets["KINSTREAM_CATALOG_URL"].name}-??????"]
  }
}

resource "aws_iam_role_policy" "migrate" {
  name   = "start-migrate"
  role   = aws_iam_role.migrate.id
  policy = data.aws_iam_policy_document.migrate.json
}

# Apart from the rest, because RDS says only in the end what it calls that secret.
data "aws_iam_policy_document" "migrate_administrator" {
  statement {
    sid       = "ReadAdministrator"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [module.catalog.administrator_secret_arn]
  }
}

resource "aws_iam_role_policy" "migrate_administrator" {
  name   = "read-administrator"
  role   = aws_iam_role.migrate.id
  policy = data.aws_iam_policy_document.migrate_administrator.json
}

resource "aws_ecs_task_definition" "migrate" {
  family                   = local.migrate_name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.migrate.arn
  container_definitions    = jsonencode([local.migrate_container])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  volume {
    name = "tmp"
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [aws_iam_role_policy.migrate, aws_iam_role_policy.migrate_administrator]
}
