# Two roles: `execution` starts a task (image, parameters, secrets, log), `task` is what the service itself is.

resource "aws_iam_role" "task" {
  name                 = "${local.full_name}-task"
  assume_role_policy   = var.trust_policy
  permissions_boundary = var.permissions_boundary
}

data "aws_iam_policy_document" "task" {
  source_policy_documents = [var.policy]

  dynamic "statement" {
    for_each = local.has_adot ? [1] : []

    # X-Ray has no resources to name.
    content {
      sid       = "Traces"
      actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    # The log router's lines, and the collector's numbers, which are lines, too.
    for_each = (local.has_router && var.search == null) || local.has_adot ? [1] : []

    content {
      sid       = "SidecarsLogs"
      actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.prefix}/${var.name}:*"]
    }
  }

  dynamic "statement" {
    for_each = local.has_router && var.search != null ? [1] : []

    content {
      sid       = "SearchedLogs"
      actions   = ["es:ESHttpPost", "es:ESHttpPut"]
      resources = ["arn:aws:es:${var.region}:${var.account_id}:domain/${substr("${var.prefix}-logs", 0, 28)}/*"]
    }
  }
}

resource "aws_iam_role_policy" "task" {
  name   = var.name
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}

resource "aws_iam_role" "execution" {
  name                 = "${local.full_name}-execution"
  assume_role_policy   = var.trust_policy
  permissions_boundary = var.permissions_boundary
}

data "aws_iam_policy_document" "execution" {
  # A token is for the whole registry; what can be pulled with it is in the next statement.
  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = var.readable.repositories
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:/${var.prefix}/${var.name}:*"]
  }

  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParameters"]
    resources = var.readable.parameters
  }

  dynamic "statement" {
    for_each = length(var.readable.secrets) > 0 ? [1] : []

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = var.readable.secrets
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-${var.name}"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}
