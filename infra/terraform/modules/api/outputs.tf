output "url" {
  description = "Where clients send to; with TLS, a record of your domain has to lead here."
  value       = "${local.has_tls ? "https" : "http"}://${aws_lb.this.dns_name}"
}

output "security_group_id" {
  description = "Security group of the load balancer."
  value       = aws_security_group.this.id
}

output "target_group_arn" {
  description = "Where tasks are registered."
  value       = aws_lb_target_group.this.arn

  # ECS refuses a target group that no listener forwards to.
  depends_on = [aws_lb_listener.http, aws_lb_listener.https]
}

output "metrics" {
  description = "How CloudWatch names the balancer and its targets."
  value = {
    load_balancer = aws_lb.this.arn_suffix
    target_group  = aws_lb_target_group.this.arn_suffix
  }
}
