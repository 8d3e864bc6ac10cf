# EMR Serverless in place of clusters: an application that costs nothing while nothing runs.

resource "aws_emrserverless_application" "this" {
  count = var.serverless == null ? 0 : 1

  name          = "${var.prefix}-training"
  release_label = "emr-7.13.0"
  type          = "spark"

  # The most that can be spent at once.
  maximum_capacity {
    cpu    = var.serverless.cpu
    memory = var.serverless.memory
  }

  auto_stop_configuration {
    idle_timeout_minutes = 5
  }
}

data "aws_iam_policy_document" "job_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["emr-serverless.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:emr-serverless:${var.region}:${var.account_id}:/applications/*"]
    }
  }
}

resource "aws_iam_role" "job" {
  count = var.serverless == null ? 0 : 1

  name               = "${var.prefix}-emr-job"
  assume_role_policy = data.aws_iam_policy_document.job_trust.json
}

# The same as a cluster's nodes.
resource "aws_iam_role_policy" "job" {
  count = var.serverless == null ? 0 : 1

  name   = "archive-and-training"
  role   = aws_iam_role.job[0].name
  policy = data.aws_iam_policy_document.nodes.json
}

# What the scheduler may do with job runs; joined to its task role where it starts them.
data "aws_iam_policy_document" "job_runs" {
  count = var.serverless == null ? 0 : 1

  statement {
    sid       = "StartAndFindJobRuns"
    actions   = ["emr-serverless:StartJobRun", "emr-serverless:ListJobRuns"]
    resources = [aws_emrserverless_application.this[0].arn]
  }

  statement {
    sid       = "FollowJobRuns"
    actions   = ["emr-serverless:GetJobRun", "emr-serverless:CancelJobRun", "emr-serverless:TagResource"]
    resources = ["${aws_emrserverless_application.this[0].arn}/jobruns/*"]
  }

  statement {
    sid       = "PassJobRole"
    actions   = ["iam:PassRole"]
    resources = ["arn:aws:iam::${var.account_id}:role/${var.prefix}-emr-job"]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["emr-serverless.amazonaws.com"]
    }
  }
}
