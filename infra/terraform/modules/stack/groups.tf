# Who may connect to whom: a security group a service, and the stores let in those that use them.

locals {
  reached_ports = {
    ingest-api          = [443, 5432, 6379]
    session-worker      = [443]
    media-worker        = [443, 5432, 6379]
    recommender-trigger = [443]
  }
}

resource "aws_security_group" "service" {
  # checkov:skip=CKV2_AWS_5:services have them by way of their rules
  for_each = local.reached_ports

  name        = "${var.prefix}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = module.network.vpc_id
  tags        = { Name = "${var.prefix}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  description                  = "From the load balancer"
  security_group_id            = aws_security_group.service["ingest-api"].id
  referenced_security_group_id = module.api.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.api_port
  to_port                      = local.api_port
}

resource "aws_vpc_security_group_egress_rule" "vpc" {
  for_each = merge([
    for service, ports in local.reached_ports : { for port in ports : "${service}-${port}" => { service = service, port = port } }
  ]...)

  description       = "Inside the VPC"
  security_group_id = aws_security_group.service[each.value.service].id
  cidr_ipv4         = module.network.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "gateways" {
  for_each = merge([
    for service in keys(local.reached_ports) : { for to in var.lacks.prefix_lists ? [] : ["s3", "dynamodb"] : "${service}-${to}" => { service = service, to = to } }
  ]...)

  description       = each.value.to
  security_group_id = aws_security_group.service[each.value.service].id
  prefix_list_id    = module.network.gateway_prefix_list_ids[each.value.to]
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
