output "service_role" {
  description = "Name of EMR's role."
  value       = aws_iam_role.service.name
}

output "instance_profile" {
  description = "Name of the nodes' instance profile."
  value       = aws_iam_instance_profile.nodes.name
}

output "security_configuration" {
  description = "Name of the security configuration, empty where there is none."
  value       = one(aws_emr_security_configuration.this[*].name)
}

output "scheduler_policy" {
  description = "What the scheduler may do, as a policy document."
  value       = data.aws_iam_policy_document.scheduler.json
}
