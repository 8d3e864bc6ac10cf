# What a transient EMR cluster needs. Clusters themselves are started, and ended, by recommender-trigger:
# it is the scheduler.

data "aws_iam_policy_document" "service_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["elasticmapreduce.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:elasticmapreduce:${var.region}:${var.account_id}:*"]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = "${var.prefix}-emr-service"
  assume_role_policy = data.aws_iam_policy_document.service_trust.json
}

# AWS's own: it reaches only what carries the tag for-use-with-amazon-emr-managed-policies.
resource "aws_iam_role_policy_attachment" "service" {
  role       = aws_iam_role.service.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
}

data "aws_iam_policy_document" "pass_nodes" {
  statement {
    actions   = ["iam:PassRole"]
    resources = [local.nodes_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "pass_nodes" {
  name   = "pass-nodes"
  role   = aws_iam_role.service.id
  policy = data.aws_iam_policy_document.pass_nodes.json
}

locals {
  service_role_arn = "arn:aws:iam::${var.account_id}:role/${var.prefix}-emr-service"
  nodes_role_arn   = "arn:aws:iam::${var.account_id}:role/${var.prefix}-emr-nodes"
  clusters_arn     = "arn:aws:elasticmapreduce:${var.region}:${var.account_id}:cluster/*"
}

data "aws_iam_policy_document" "nodes_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "nodes" {
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws:s3:::${var.archive_bucket}", "arn:aws:s3:::${var.training_bucket}"]
  }

  statement {
    sid       = "ReadEvents"
    actions   = ["s3:GetObject"]
    resources = ["arn:aws:s3:::${var.archive_bucket}/events/*"]
  }

  # Spark writes into a folder of its own, renames in it, and EMR puts its logs beside it.
  statement {
    sid       = "WriteResults"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["arn:aws:s3:::${var.training_bucket}/*"]
  }
}

resource "aws_iam_role" "nodes" {
  name               = "${var.prefix}-emr-nodes"
  assume_role_policy = data.aws_iam_policy_document.nodes_trust.json
}

resource "aws_iam_role_policy" "nodes" {
  name   = "archive-and-training"
  role   = aws_iam_role.nodes.id
  policy = data.aws_iam_policy_document.nodes.json
}

resource "aws_iam_instance_profile" "nodes" {
  name = "${var.prefix}-emr-nodes"
  role = aws_iam_role.nodes.name
}

resource "aws_emr_security_configuration" "this" {
  # checkov:skip=CKV_AWS_171:S3's own key, as in the buckets themselves
  # checkov:skip=CKV_AWS_349:nodes live for minutes; where disks must be encrypted the account does it by default
  # checkov:skip=CKV_AWS_350:nodes live for minutes; where disks must be encrypted the account does it by default
  # checkov:skip=CKV_AWS_351:needs certificates; nodes speak to each other alone, in private subnets
  count = var.security_configuration ? 1 : 0

  name = "${var.prefix}-training"

  configuration = jsonencode({
    EncryptionConfiguration = {
      EnableInTransitEncryption = false
      EnableAtRestEncryption    = true
      AtRestEncryptionConfiguration = {
        S3EncryptionConfiguration = { EncryptionMode = "SSE-S3" }
      }
    }
    InstanceMetadataServiceConfiguration = {
      MinimumInstanceMetadataServiceVersion = 2
      HttpPutResponseHopLimit               = 1
    }
  })
}
