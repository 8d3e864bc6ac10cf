# OpenSearch for logs, where CloudWatch is not enough.

locals {
  # OpenSearch takes names to 28 characters.
  name = substr("${var.prefix}-logs", 0, 28)
  arn  = "arn:aws:es:${var.region}:${var.account_id}:domain/${local.name}"
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}-search"
  description = "The log search"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.prefix}-search" }

  dynamic "ingress" {
    for_each = var.client_security_group_ids

    content {
      description     = "TLS from ${ingress.key}"
      protocol        = "tcp"
      from_port       = 443
      to_port         = 443
      security_groups = [ingress.value]
    }
  }
}

# Whom the account lets in, which its roles decide.
data "aws_iam_policy_document" "writers" {
  statement {
    actions   = ["es:ESHttpPost", "es:ESHttpPut"]
    resources = ["${local.arn}/*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.account_id}:root"]
    }
  }
}

resource "aws_opensearch_domain" "this" {
  # checkov:skip=CKV_AWS_317:who reads logs is in CloudTrail; an audit log of logs would go to itself
  # checkov:skip=CKV2_AWS_52:access is by role, from inside the VPC
  # checkov:skip=CKV2_AWS_59:masters of their own pay from about ten nodes on
  # checkov:skip=CKV_AWS_247:logs hold no personal data; OpenSearch's own key is enough
  # checkov:skip=CKV_AWS_318:masters of their own pay from about ten nodes on
  domain_name     = local.name
  engine_version  = "OpenSearch_2.17"
  access_policies = data.aws_iam_policy_document.writers.json

  cluster_config {
    instance_type          = var.instance_type
    instance_count         = var.instances
    zone_awareness_enabled = var.instances > 1
  }

  ebs_options {
    ebs_enabled = true
    volume_type = "gp3"
    volume_size = var.storage_gb
  }

  vpc_options {
    subnet_ids         = slice(var.subnet_ids, 0, min(2, var.instances))
    security_group_ids = [aws_security_group.this.id]
  }

  encrypt_at_rest {
    enabled = true
  }

  node_to_node_encryption {
    enabled = true
  }

  domain_endpoint_options {
    enforce_https       = true
    tls_security_policy = "Policy-Min-TLS-1-2-PFS-2023-10"
  }

  log_publishing_options {
    cloudwatch_log_group_arn = aws_cloudwatch_log_group.this.arn
    log_type                 = "ES_APPLICATION_LOGS"
  }

  depends_on = [aws_cloudwatch_log_resource_policy.this]
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158:errors of the search itself; CloudWatch's own key is enough
  # checkov:skip=CKV_AWS_338:of use for weeks, not for a year
  name              = "/${var.prefix}/search"
  retention_in_days = 30
}

data "aws_iam_policy_document" "publish" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]

    principals {
      type        = "Service"
      identifiers = ["es.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "this" {
  policy_name     = "${var.prefix}-search"
  policy_document = data.aws_iam_policy_document.publish.json
}
