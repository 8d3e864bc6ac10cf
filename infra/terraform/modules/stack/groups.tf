# Who may connect to whom: a security group a service, and the stores let in those that use them.

locals {
  reached_ports = {
    ingest-api          = [443, 5432, 6379]
    session-worker      = [443]
    media-worker        = [443, 5432]
    recommender-trigger = [443]
  }
}

resource "aws_security_group" "service" {
  for_each = local.reached_ports

  name        = "${var.prefix}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = module.network.vpc_id
  tags        = { Name = "${var.prefix}-${each.key}" }

  dynamic "ingress" {
    for_each = each.key == "ingest-api" ? [local.api_port] : []

    content {
      description     = "From the load balancer"
      protocol        = "tcp"
      from_port       = ingress.value
      to_port         = ingress.value
      security_groups = [module.api.security_group_id]
    }
  }

  dynamic "egress" {
    for_each = each.value

    content {
      description = "Inside the VPC"
      protocol    = "tcp"
      from_port   = egress.value
      to_port     = egress.value
      cidr_blocks = [module.network.cidr]
    }
  }

  egress {
    description     = "S3 and DynamoDB"
    protocol        = "tcp"
    from_port       = 443
    to_port         = 443
    prefix_list_ids = module.network.gateway_prefix_list_ids
  }
}
