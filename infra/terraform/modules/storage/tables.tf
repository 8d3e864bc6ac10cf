resource "aws_dynamodb_table" "this" {
  # checkov:skip=CKV_AWS_119:encrypted with a key that AWS owns; one of our own would be asked for with every write
  for_each = var.tables

  name                        = "${var.prefix}-${each.key}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.keep

  dynamic "attribute" {
    for_each = merge(
      { pk = "S", sk = "S" },
      { for index in each.value.indexes : index.partition => "S" },
      { for index in each.value.indexes : index.sort => index.sort_kind },
    )

    content {
      name = attribute.key
      type = attribute.value
    }
  }

  # Sparse: only items that carry its keys are in it.
  dynamic "global_secondary_index" {
    for_each = each.value.indexes

    content {
      name            = global_secondary_index.key
      hash_key        = global_secondary_index.value.partition
      range_key       = global_secondary_index.value.sort
      projection_type = global_secondary_index.value.keys_only ? "KEYS_ONLY" : "ALL"
    }
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }
}
