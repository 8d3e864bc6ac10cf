# What each service may do: the calls that its code makes, on what it makes them on, and nothing else.
# Beside each action that is not obvious stands who makes the call. tests/infra holds the services to it.

locals {
  table = {
    for name in keys(local.tables) : name =>
    "arn:aws:dynamodb:${var.region}:${var.account_id}:table/${var.prefix}-${name}"
  }

  index = {
    for pair in flatten([for table, described in local.tables : [
      for index in keys(lookup(described, "indexes", {})) : { table = table, index = index }
    ]]) : "${pair.table}/${pair.index}" => "${local.table[pair.table]}/index/${pair.index}"
  }

  bucket = { for name in keys(local.buckets) : name => "arn:aws:s3:::${var.prefix}-${name}" }
  topic  = { for name in local.topics : name => "arn:aws:sns:${var.region}:${var.account_id}:${var.prefix}-${name}" }

  # On AWS a batch is allowed by the action of the single call.
  publish_batch = concat(["sns:Publish"], var.lacks.batch_permissions ? ["sns:PublishBatch"] : [])
  delete_batch  = concat(["sqs:DeleteMessage"], var.lacks.batch_permissions ? ["sqs:DeleteMessageBatch"] : [])
  hold_batch = concat(
    ["sqs:ChangeMessageVisibility"],
    var.lacks.batch_permissions ? ["sqs:ChangeMessageVisibilityBatch"] : [],
  )

  keep_originals = lookup(
    merge(local.settings.shared, local.settings["media-worker"]), "KINSTREAM_MEDIA_KEEP_ORIGINALS", "true",
  )

  queue_arn_prefix = "arn:aws:sqs:${var.region}:${var.account_id}:${var.prefix}"

  policies = merge(
    {
      ingest-api          = data.aws_iam_policy_document.ingest_api.json
      media-worker        = data.aws_iam_policy_document.media_worker.json
      media-worker-large  = data.aws_iam_policy_document.media_worker.json
      recommender-trigger = data.aws_iam_policy_document.recommender_trigger.json
    },
    {
      for service, processor in local.processor_services : service => (
        local.processors[processor].bucket == null
        ? data.aws_iam_policy_document.counting[processor].json
        : data.aws_iam_policy_document.writing[processor].json
      )
    },
  )
}

# Whose roles all of these are: tasks of this account.
data "aws_iam_policy_document" "tasks_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:ecs:${var.region}:${var.account_id}:*"]
    }
  }
}

data "aws_iam_policy_document" "ingest_api" {
  # GetTopicAttributes: looked for at the start.
  statement {
    sid       = "PublishEvents"
    actions   = concat(local.publish_batch, ["sns:GetTopicAttributes"])
    resources = [local.topic.events]
  }

  statement {
    sid = "Registry"
    actions = [
      "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem",
    ]
    resources = [local.table.registry]
  }

  statement {
    sid       = "Counters"
    actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem"]
    resources = [local.table.counters]
  }

  statement {
    sid       = "SessionsAndTrending"
    actions   = ["dynamodb:Query"]
    resources = [local.table.ledger, local.index["counters/trend"]]
  }

  # GetItem: an alert that somebody else has acknowledged already.
  statement {
    sid       = "Alerts"
    actions   = ["dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:GetItem"]
    resources = [local.table.records]
  }

  statement {
    sid       = "Recommendations"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = [local.table.recommendations]
  }

  # ListBucket is what HeadBucket asks for: looked for at the start.
  statement {
    sid       = "LookForQuarantine"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket.quarantine]
  }

  statement {
    sid       = "Quarantine"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket.quarantine}/app=*"]
  }

  statement {
    sid       = "OrderPictures"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = ["${local.queue_arn_prefix}-uploads"]
  }

  # Never called by itself: whoever holds a form that it signed acts with its right.
  statement {
    sid       = "SignUploads"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket.uploads}/*/original"]
  }

  # So that a file that is gone is 404, not 403. S3 asks for this of the whole bucket, and not under a prefix.
  statement {
    sid       = "LookForFiles"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket.derived]
  }

  # Called for playlists and pictures; of all else it signs URLs.
  statement {
    sid       = "Downloads"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket.derived}/*"]
  }
}

# What every processor does: it reads its own queue, and sends what transactions left in the outbox.
data "aws_iam_policy_document" "processor" {
  for_each = local.processors

  statement {
    sid       = "OwnQueue"
    actions   = concat(["sqs:GetQueueUrl", "sqs:ReceiveMessage"], local.delete_batch, local.hold_batch)
    resources = ["${local.queue_arn_prefix}-processor-${each.key}"]
  }

  statement {
    sid       = "PutAside"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = ["${local.queue_arn_prefix}-processor-${each.key}-dlq"]
  }

  statement {
    sid       = "Outbox"
    actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
    resources = [local.table.outbox]
  }

  statement {
    sid       = "PendingOutbox"
    actions   = ["dynamodb:Query"]
    resources = [local.index["outbox/pending"]]
  }

  statement {
    sid       = "Announce"
    actions   = ["sns:Publish"]
    resources = [local.topic.alerts]
  }
}

# One that counts: Put and Update are parts of its transactions.
data "aws_iam_policy_document" "counting" {
  for_each = { for name, processor in local.processors : name => processor if processor.bucket == null }

  source_policy_documents = [data.aws_iam_policy_document.processor[each.key].json]

  # There only while `kinstream rebuild` counts anew, and made by it.
  statement {
    sid       = "RebuildQueue"
    actions   = concat(["sqs:GetQueueUrl", "sqs:ReceiveMessage"], local.delete_batch, local.hold_batch)
    resources = ["${local.queue_arn_prefix}-rebuild-${each.key}"]
  }

  statement {
    sid       = "RebuildPutAside"
    actions   = ["sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = ["${local.queue_arn_prefix}-rebuild-${each.key}-dlq"]
  }

  statement {
    sid       = "Ledger"
    actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:PutItem"]
    resources = [local.table.ledger]
  }

  # All but UpdateItem are for the journal of counters that many customers share.
  statement {
    sid = "Counters"
    actions = [
      "dynamodb:UpdateItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:BatchWriteItem",
    ]
    resources = [local.table.counters]
  }

  # GetItem: looked for at the start; and how far the closing of sessions is.
  statement {
    sid       = "Records"
    actions   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
    resources = [local.table.records]
  }

  statement {
    sid       = "NewAnnouncements"
    actions   = ["dynamodb:PutItem"]
    resources = [local.table.outbox]
  }

  # GetItem: which generation is served. Looked for at the start, as the other tables are.
  statement {
    sid       = "References"
    actions   = ["dynamodb:Query", "dynamodb:GetItem"]
    resources = [local.table.registry]
  }

  # The processor `activity` closes sessions as well: it walks an index, marks buckets and tells of them.
  dynamic "statement" {
    for_each = each.key == "activity" ? [1] : []

    content {
      sid       = "DueBuckets"
      actions   = ["dynamodb:Query"]
      resources = [local.index["ledger/due"]]
    }
  }

  dynamic "statement" {
    for_each = each.key == "activity" ? [1] : []

    content {
      sid       = "Closings"
      actions   = ["dynamodb:UpdateItem"]
      resources = [local.table.ledger]
    }
  }

  dynamic "statement" {
    for_each = each.key == "activity" ? [1] : []

    content {
      sid       = "TellOfClosings"
      actions   = local.publish_batch
      resources = [local.topic.sessions, local.topic.events]
    }
  }
}

# One that writes files into a bucket.
data "aws_iam_policy_document" "writing" {
  for_each = { for name, processor in local.processors : name => processor if processor.bucket != null }

  source_policy_documents = [data.aws_iam_policy_document.processor[each.key].json]

  statement {
    sid       = "WriteFiles"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket[each.value.bucket]}/*"]
  }

  # ListBucket is what HeadBucket asks for: looked for at the start.
  statement {
    sid       = "ListFiles"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket[each.value.bucket]]
  }

  # The processor `archive` merges small files too.
  dynamic "statement" {
    for_each = each.key == "archive" ? [1] : []

    content {
      sid       = "MergeFiles"
      actions   = ["s3:GetObject", "s3:DeleteObject"]
      resources = ["${local.bucket.archive}/*"]
    }
  }

  dynamic "statement" {
    for_each = each.key == "archive" ? [1] : []

    content {
      sid       = "MergeLease"
      actions   = ["dynamodb:PutItem"]
      resources = [local.table.outbox]
    }
  }
}

data "aws_iam_policy_document" "media_worker" {
  statement {
    sid       = "Uploads"
    actions   = ["sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = ["${local.queue_arn_prefix}-uploads"]
  }

  # GetQueueAttributes: Celery's transport counts messages when it declares the queue.
  statement {
    sid = "Tasks"
    actions = [
      "sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
    ]
    resources = ["${local.queue_arn_prefix}-media", "${local.queue_arn_prefix}-media-large"]
  }

  # So that an upload or a picture that is gone is 404, not 403; and looked for at the start.
  statement {
    sid       = "LookForFiles"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket.uploads, local.bucket.derived]
  }

  statement {
    sid       = "ReadOriginals"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket.uploads}/*/original"]
  }

  # Only where a setting says that originals do not stay.
  dynamic "statement" {
    for_each = contains(["false", "f", "no", "n", "off", "0"], lower(local.keep_originals)) ? [1] : []

    content {
      sid       = "DeleteOriginals"
      actions   = ["s3:DeleteObject"]
      resources = ["${local.bucket.uploads}/*/original"]
    }
  }

  # What is asked for later is made of what was made.
  statement {
    sid       = "ReadRenditions"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket.derived}/*"]
  }

  statement {
    sid       = "Announce"
    actions   = ["sns:Publish"]
    resources = [local.topic.media]
  }

  # AbortMultipartUpload: boto3 ends a large upload that failed. DeleteObject: what an attempt left that does not count.
  statement {
    sid       = "WriteRenditions"
    actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${local.bucket.derived}/*"]
  }

  # While it works on a file a task asks not to be scaled in.
  statement {
    sid       = "ProtectTasks"
    actions   = ["ecs:UpdateTaskProtection"]
    resources = ["arn:aws:ecs:${var.region}:${var.account_id}:task/${var.prefix}/*"]
  }
}

data "aws_iam_policy_document" "recommender_trigger" {
  source_policy_documents = [module.training.scheduler_policy]

  statement {
    sid       = "AppsAndDueCustomers"
    actions   = ["dynamodb:Query"]
    resources = [local.table.registry, local.index["counters/due"]]
  }

  statement {
    sid       = "SetBackServed"
    actions   = ["dynamodb:UpdateItem"]
    resources = [local.table.counters]
  }

  # ConditionCheckItem: a run goes on only while its owner holds the lock.
  statement {
    sid = "RunsAndLists"
    actions = [
      "dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem",
      "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem",
    ]
    resources = [local.table.recommendations]
  }

  statement {
    sid       = "ListFiles"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket.archive, local.bucket.training]
  }

  statement {
    sid       = "CountArchive"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket.archive}/events/*"]
  }

  statement {
    sid       = "JobsAndResults"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.bucket.training}/*"]
  }

  statement {
    sid       = "TellOfFailures"
    actions   = ["sns:Publish"]
    resources = [local.topic.operations]
  }

  statement {
    sid       = "HearOfClusters"
    actions   = concat(["sqs:GetQueueUrl", "sqs:ReceiveMessage"], local.delete_batch)
    resources = ["${local.queue_arn_prefix}-emr-events"]
  }

  statement {
    sid       = "LookForDeadLetters"
    actions   = ["sqs:GetQueueUrl"]
    resources = ["${local.queue_arn_prefix}-emr-events-dlq"]
  }
}
