output "url" {
  description = "Address as services take it."
  value       = "${var.tls ? "rediss" : "redis"}://${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0"
}

output "id" {
  description = "Name of the replication group."
  value       = aws_elasticache_replication_group.this.replication_group_id
}
