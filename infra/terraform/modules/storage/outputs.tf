output "table_names" {
  description = "Full names of the tables by short name."
  value       = { for name, table in aws_dynamodb_table.this : name => table.name }
}

output "bucket_names" {
  description = "Full names of the buckets by short name."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.bucket }
}
