output "name" {
  description = "Name of the queue."
  value       = aws_sqs_queue.this.name
}

output "arn" {
  description = "ARN of the queue."
  value       = aws_sqs_queue.this.arn

  # Whoever is told to send here may do so from then on.
  depends_on = [aws_sqs_queue_policy.this]
}

output "alarms" {
  description = "Names of the alarms: dead letters, what waits, and the age of the oldest message."
  value = {
    dead_letters   = aws_cloudwatch_metric_alarm.dead_letters.alarm_name
    depth          = aws_cloudwatch_metric_alarm.depth.alarm_name
    oldest_message = aws_cloudwatch_metric_alarm.oldest_message.alarm_name
  }
}
