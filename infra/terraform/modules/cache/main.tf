# Redis for rate limits, what is trending, and what open event streams are told. It holds nothing that would be missed.

resource "aws_elasticache_subnet_group" "this" {
  name       = "${var.prefix}-cache"
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}-cache"
  description = "The cache"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.prefix}-cache" }

  dynamic "ingress" {
    for_each = var.client_security_group_ids

    content {
      description     = "Redis from ${ingress.key}"
      protocol        = "tcp"
      from_port       = 6379
      to_port         = 6379
      security_groups = [ingress.value]
    }
  }
}

resource "aws_elasticache_replication_group" "this" {
  # checkov:skip=CKV_AWS_31:only two services' security groups get to it, and it holds counters without secrets
  # checkov:skip=CKV_AWS_191:counters that live for minutes; ElastiCache's own key is enough
  # checkov:skip=CKV_AWS_30:TLS is on wherever this is AWS; an emulator's Redis has none
  # checkov:skip=CKV2_AWS_50:a choice of the environment; prod has its replica
  replication_group_id       = "${var.prefix}-cache"
  description                = "Rate limits and trending of ${var.prefix}"
  engine                     = "redis"
  engine_version             = "7.1"
  port                       = 6379
  node_type                  = var.node_type
  num_cache_clusters         = 1 + var.replicas
  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.replicas > 0
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.this.id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = var.tls
  apply_immediately          = true
}
