resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:requests are in CloudTrail's data events where an account wants them
  # checkov:skip=CKV_AWS_21:only the archive is versioned; what the others hold can be made again or is gone by design
  # checkov:skip=CKV_AWS_144:a copy in another region is a choice with a price, see docs/operations.md
  # checkov:skip=CKV_AWS_145:S3's own key; one of ours would be asked for with every object
  # checkov:skip=CKV2_AWS_62:only uploads are waited for
  for_each = var.buckets

  bucket        = "${var.prefix}-${each.key}"
  force_destroy = !var.keep
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = var.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = var.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = { for name, bucket in var.buckets : name => bucket if bucket.versioned }

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = var.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = each.value.expire_days == null ? "tidy" : "expire"
    status = "Enabled"

    filter {
      prefix = ""
    }

    dynamic "expiration" {
      for_each = each.value.expire_days[*]

      content {
        days = expiration.value
      }
    }

    dynamic "noncurrent_version_expiration" {
      for_each = each.value.versioned ? [30] : []

      content {
        noncurrent_days = noncurrent_version_expiration.value
      }
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_cors_configuration" "this" {
  for_each = { for name, bucket in var.buckets : name => bucket if bucket.used_by_pages }

  bucket = aws_s3_bucket.this[each.key].id

  # A presigned request is the permission; where the page comes from adds nothing to it.
  cors_rule {
    allowed_methods = ["POST", "PUT", "GET"]
    allowed_origins = ["*"]
    allowed_headers = ["*"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3600
  }
}

resource "aws_s3_bucket_notification" "this" {
  for_each = var.notify_queue_arns

  bucket = aws_s3_bucket.this[each.key].id

  queue {
    id        = "object-created"
    queue_arn = each.value
    events    = ["s3:ObjectCreated:*"]
  }
}

data "aws_iam_policy_document" "tls" {
  for_each = var.refuse_plain_http ? var.buckets : {}

  statement {
    effect  = "Deny"
    actions = ["s3:*"]
    resources = [
      aws_s3_bucket.this[each.key].arn,
      "${aws_s3_bucket.this[each.key].arn}/*",
    ]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "tls" {
  for_each = data.aws_iam_policy_document.tls

  bucket = aws_s3_bucket.this[each.key].id
  policy = each.value.json

  depends_on = [aws_s3_bucket_public_access_block.this]
}
