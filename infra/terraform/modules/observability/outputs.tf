output "dashboard" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "api_error_alarm" {
  description = "Name of the alarm on answers with 5xx."
  value       = aws_cloudwatch_metric_alarm.this["api-errors"].alarm_name
}
