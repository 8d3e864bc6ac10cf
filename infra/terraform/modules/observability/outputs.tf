output "dashboard" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "api_error_alarms" {
  description = "Names of the alarms on answers with 5xx, the API's and the load balancer's own."
  value       = [for name in ["api-errors", "api-unreachable"] : aws_cloudwatch_metric_alarm.this[name].alarm_name]
}
