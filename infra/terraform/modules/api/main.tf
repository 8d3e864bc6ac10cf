# The way in: a load balancer with TLS before the tasks of ingest-api.

locals {
  # Load balancers and target groups take names to 32 characters.
  name    = substr("${var.prefix}-api", 0, 32)
  has_tls = var.certificate_arn != null
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}-api"
  description = "The load balancer"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.prefix}-api" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  # checkov:skip=CKV_AWS_260:port 80 is open to all in order to send them to 443
  for_each = toset(local.has_tls ? ["80", "443"] : ["80"])

  description       = "Clients"
  security_group_id = aws_security_group.this.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  description       = "Tasks"
  security_group_id = aws_security_group.this.id
  cidr_ipv4         = var.vpc_cidr
  ip_protocol       = "tcp"
  from_port         = var.port
  to_port           = var.port
}

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91:ingest-api logs requests itself, without the clients' addresses
  # checkov:skip=CKV2_AWS_76:AWSManagedRulesKnownBadInputsRuleSet holds these rules
  # checkov:skip=CKV_AWS_150:a choice of the environment; prod is protected
  # checkov:skip=CKV2_AWS_20:with a certificate port 80 redirects; without one there is nothing to redirect to
  name                       = local.name
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.this.id]
  subnets                    = var.subnet_ids
  drop_invalid_header_fields = true
  enable_deletion_protection = var.keep
  # Longer than ingest-api waits for a body, so that it and not the balancer says what is wrong.
  idle_timeout = 60
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378:TLS ends at the balancer; behind it the way is inside the VPC
  name                 = local.name
  vpc_id               = var.vpc_id
  port                 = var.port
  protocol             = "HTTP"
  target_type          = "ip"
  deregistration_delay = 30

  health_check {
    path                = "/readyz"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
    matcher             = "200"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "http" {
  # checkov:skip=CKV_AWS_2:with a certificate this listener only redirects
  # checkov:skip=CKV_AWS_103:with a certificate this listener only redirects
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = local.has_tls ? "redirect" : "forward"
    target_group_arn = local.has_tls ? null : aws_lb_target_group.this.arn

    dynamic "redirect" {
      for_each = local.has_tls ? [1] : []

      content {
        port        = "443"
        protocol    = "HTTPS"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = local.has_tls ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}
